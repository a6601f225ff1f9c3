"""A Keras model as a pure function of its weights, compressed or not."""

import keras
import tensorflow as tf

from tf_metacompress.anatomy import check_keras_model, copy_model
from tf_metacompress.compression import make_compressors
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.meta.learners.normalization import Statistics
from tf_metacompress.policy import Policy
from tf_metacompress.wrappers import ActivationRange, CompressedModel

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
        _check_trainable(model)
        plain = copy_model(model)
        self.statistics = Statistics(batch_norm, plain)
        self.model: keras.Model = plain
        if policy is not None:
            compressors = make_compressors(model, policy)
            self.model = CompressedModel(plain, compressors, name=f"compressed_{model.name}")
            for compressor in compressors:
                compressor.update_masks()
        self.weights: list[keras.Variable] = self.model.trainable_variables
        self._others: list[keras.Variable] = self.model.non_trainable_variables
        self._observed = self._find_observed()

    @property
    def compressors(self) -> tuple:
        """What acts on its layers; empty without a policy."""
        return tuple(getattr(self.model, "compressors", ()))

    @property
    def ranges(self) -> list[ActivationRange]:
        """Its activation ranges; empty without a policy that quantises."""
        return [c.output_range for c in self.compressors if c.output_range is not None]

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
        after = self._after(weights, x, num_support, momentum)
        for index in self._observed:
            self._others[index].assign(after[index])

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
        """All non-trainable variables after a look at a batch."""
        with self.statistics.of_first(num_support), self.statistics.moving(momentum):
            _, after = self.model.stateless_call(weights, self._read(), x, training=True)
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
