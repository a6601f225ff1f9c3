"""A Keras model as a pure function of its weights, compressed or not."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import check_keras_model, copy_model
from tf_metacompress.compression import make_compressors
from tf_metacompress.errors import UnsupportedModelError, invalid
from tf_metacompress.layer_tree import Call, redirected
from tf_metacompress.meta.learners.normalization import Statistics
from tf_metacompress.policy import Policy
from tf_metacompress.wrappers import (
    ActivationRange,
    CompressedModel,
    Compressor,
    is_compressed,
)

Tensors = tuple[tf.Tensor, ...]
_OBSERVED = ("moving_mean", "moving_variance")


class Network:
    """What a meta-learner differentiates: outputs as a function of weights and inputs.

    Args:
        model: A built Keras 3 model of any kind. It is copied, never changed.
        batch_norm: Which statistics BatchNormalization uses; see `Statistics`.
        policy: Compression to compute with, masks and rounding included; None for none.

    Attributes:
        model: The copy; its weights are those that meta-training learns. A `CompressedModel` when
            there is a policy.
        weights: Its trainable variables.
        statistics: What its BatchNormalization layers do.

    Raises:
        UnsupportedModelError: If the model cannot be trained.
    """

    def __init__(
        self, model: keras.Model, batch_norm: str = "inference", policy: Policy | None = None
    ) -> None:
        check_keras_model(model)
        _check_plain(model)
        _check_trainable(model)
        plain = copy_model(model)
        self.statistics = Statistics(batch_norm, plain)
        self.model: keras.Model = plain
        if policy is not None:
            compressors = make_compressors(model, policy)
            self.model = CompressedModel(plain, compressors, name=f"compressed_{model.name}")
            _check_scores(compressors)
            for compressor in compressors:
                compressor.update_masks()
        self.weights: list[keras.Variable] = self.model.trainable_variables
        self._others: list[keras.Variable] = self.model.non_trainable_variables
        self._observed = self._find_observed()
        self._output_shape: tuple[int | None, ...] | None = None

    @property
    def compressors(self) -> tuple:
        """What acts on its layers; empty without a policy."""
        return tuple(getattr(self.model, "compressors", ()))

    @property
    def ranges(self) -> list[ActivationRange]:
        """Its activation ranges; empty without a policy that quantises."""
        return [c.output_range for c in self.compressors if c.output_range is not None]

    @property
    def input_dtype(self) -> str | None:
        """What inputs are cast to; None where the model, a subclassed one, does not say."""
        inputs = getattr(self.model, "inputs", None)
        if not inputs:
            return None
        dtype = keras.backend.standardize_dtype(inputs[0].dtype)
        return self.weights[0].dtype if keras.backend.is_float_dtype(dtype) else dtype

    def output_shape(self, x: np.ndarray) -> tuple[int | None, ...]:
        """Shape of what the model gives for such inputs; one of no dimensions if it is unclear."""
        shape = getattr(self.model, "output_shape", None)
        if shape is None and self._output_shape is None:
            shape = self.model(tf.cast(x[:1], self.input_dtype or x.dtype)).shape
        if shape is not None:
            self._output_shape = tuple(shape) if isinstance(shape, tuple | tf.TensorShape) else ()
        return self._output_shape

    @property
    def observes(self) -> bool:
        """Whether it keeps statistics that adapted weights should move."""
        return bool(self._observed)

    def __call__(self, weights: Tensors, x: tf.Tensor, num_support: int | None = None) -> tf.Tensor:
        """Computes the outputs at given weights, differentiable to any order.

        Args:
            weights: One tensor for each of `weights`, in order.
            x: Inputs.
            num_support: How many rows of `x`, the first ones, are support examples; None for all.

        Returns:
            Outputs of all rows.
        """
        with self.statistics.of_first(num_support):
            outputs, _ = self.model.stateless_call(weights, self._read(), x, training=False)
        return outputs

    def observe(self, weights: Tensors, x: tf.Tensor, num_support: int, momentum: float) -> None:
        """Moves activation ranges and moving statistics towards those at given weights.

        Args:
            weights: Adapted weights.
            x: Inputs, support examples first.
            num_support: How many of them are support examples.
            momentum: Weight of the old statistics of BatchNormalization; 0 replaces them.
        """
        self.keep(self.seen(weights, x, num_support, momentum))

    def seen(
        self, weights: Tensors, x: tf.Tensor, num_support: int, momentum: float
    ) -> list[tf.Tensor]:
        """What `observe` would set ranges and statistics to; nothing is set."""
        after = self._after(weights, x, num_support, momentum)
        return [after[index] for index in self._observed]

    def keep(self, seen: Sequence[tf.Tensor]) -> None:
        """Sets ranges and statistics to what `seen` gave."""
        for index, value in zip(self._observed, seen, strict=True):
            self._others[index].assign(value)

    def statistics_at(self, weights: Tensors, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Statistics that BatchNormalization takes of a support set.

        Args:
            weights: Adapted weights.
            x: Support inputs.

        Returns:
            Index among the non-trainable variables, in digits, to value; empty where the moving
            statistics are used.
        """
        if not self.statistics.moves:
            return {}
        after = self._after(weights, x, None, 0.0)
        moving = self._moving()
        return {str(i): after[i] for i, v in enumerate(self._others) if id(v) in moving}

    def _after(
        self, weights: Tensors, x: tf.Tensor, num_support: int | None, momentum: float
    ) -> list[tf.Tensor]:
        """All non-trainable variables after a look at a batch.

        Ranges alone are in training: they must be those of what is computed at inference, without
        Dropout and on the chosen statistics.
        """
        ranges = {str(index): layer for index, layer in enumerate(self.ranges)}
        looking = redirected(ranges, lambda _, __, call: _in_training(call))
        with self.statistics.of_first(num_support), self.statistics.moving(momentum), looking:
            _, after = self.model.stateless_call(weights, self._read(), x, training=False)
        return after

    def _read(self) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(variable) for variable in self._others]

    def _find_observed(self) -> list[int]:
        wanted = {id(v) for r in self.ranges for v in (r.range_min, r.range_max)}
        return [index for index, v in enumerate(self._others) if id(v) in wanted | self._moving()]

    def _moving(self) -> set[int]:
        """Identities of the moving statistics that layers keep of what they compute."""
        layers = self.statistics.layers if self.statistics.moves else ()
        return {id(getattr(layer, name)) for layer in layers for name in _OBSERVED}


def _in_training(call: Call) -> Call:
    def call_in_training(inputs: tf.Tensor, training: bool = True) -> tf.Tensor:
        del training
        return call(inputs, training=True)

    return call_in_training


def _check_plain(model: keras.Model) -> None:
    if is_compressed(model):
        raise UnsupportedModelError(
            "A meta-learner takes a plain model and compresses it itself. "
            f"Received: model={model.name!r}, compressed already. Pass the plain one and `policy`."
        )
    for name in ("inputs", "outputs"):
        number = len(getattr(model, name, None) or [None])
        if number != 1:
            raise UnsupportedModelError(
                "A meta-learner needs a model of one input and one output. "
                f"Received: model={model.name!r} with {number} {name}. Join them into one."
            )


def _check_scores(compressors: Sequence[Compressor]) -> None:
    for compressor in compressors:
        if compressor.lacks_statistics:
            raise invalid(
                "Meta-training shows scores the weights only, neither gradients nor results.",
                'Use a score of the weights, such as "magnitude".',
                layer=compressor.name,
            )


def _check_trainable(model: keras.Model) -> None:
    if not model.trainable_variables:
        raise UnsupportedModelError(
            "A meta-learner needs weights to train. "
            f"Received: model={model.name!r} with no trainable weights. Set `trainable = True`."
        )
    for variable in model.trainable_variables:
        if not keras.backend.is_float_dtype(variable.dtype):
            raise UnsupportedModelError(
                "A meta-learner needs trainable weights of a floating dtype. "
                f"Received: {variable.path!r} of dtype {variable.dtype}."
            )
