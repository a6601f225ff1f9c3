"""What compresses one layer of a model: its masks, its bits, the range of its result."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import invalid
from tf_metacompress.layer_tree import Call, call_with_weights, redirect, restore, weight_of
from tf_metacompress.policy import LayerPlan
from tf_metacompress.wrappers.activation_range import ActivationRange
from tf_metacompress.wrappers.deployed_gain import deployed_gain
from tf_metacompress.wrappers.kernel_state import KernelState
from tf_metacompress.wrappers.mask_constraint import MaskConstraint, constrain, release
from tf_metacompress.wrappers.statistics import ZeroShare

Layer = keras.layers.Layer
_FLOAT_BITS = 32
_NOTHING = ()


@dataclass(frozen=True)
class _Target:
    """The layer acted on; held in a plain object, so that Keras does not track it twice."""

    layer: Layer
    batch_norm: keras.layers.BatchNormalization | None
    activation: Layer | None
    constraints: list[tuple[keras.Variable, MaskConstraint]] = field(default_factory=list)


def compressor_of(layer: Layer) -> "LayerCompressor | None":
    """Finds what is attached to a layer at present.

    Args:
        layer: Any Keras layer.

    Returns:
        Its compressor, or None.
    """
    return getattr(vars(layer).get("call"), "compressor", None)


@keras.saving.register_keras_serializable(package="tf_metacompress")
class LayerCompressor(Layer):
    """Carries out one `LayerPlan` on one layer, during every call of that layer.

    Attached to a layer it redirects the layer's call: kernels are masked and fake-quantised, the
    result is fake-quantised where the device will hold it as an int8 tensor. The layer's own
    variables keep their full values and are what the optimizer updates.

    Args:
        plan: What to do.
        kernels: Kernel attribute of the layer to the axes of its output channels; empty for a
            layer of which only the result is quantised.
        batch_norm: Path of the BatchNormalization folded into the last kernel, or None. Masks
            are chosen by the folded magnitude.
        quantize_output: Whether the result is an int8 tensor on the device.
        bounds: Least and greatest value of the result, None where it has none: (0, 6) for a ReLU6.
        only_clips: Whether the layer does nothing but clip to its bounds. Its quantised result is
            then computed in one step, without calling it.
        activation: Path of the layer whose result is behind the activation of this one, often this
            one itself: where a score that looks at results looks. None when there is none such.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(
        self,
        plan: LayerPlan,
        kernels: Mapping[str, Sequence[int]],
        batch_norm: str | None = None,
        quantize_output: bool = False,
        bounds: Sequence[float | None] = (None, None),
        only_clips: bool = False,
        activation: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.plan = plan
        self.kernels = {name: tuple(axis) for name, axis in kernels.items()}
        self._last = next(reversed(self.kernels), "")
        self.batch_norm = batch_norm
        self.quantize_output = quantize_output
        self.bounds = tuple(bounds)
        self.only_clips = only_clips
        self.activation = activation
        self.states: dict[str, KernelState] = {}
        self.zero_share: ZeroShare | None = None
        bits = plan.activation_bits
        wanted = quantize_output and bits < _FLOAT_BITS
        low, high = self.bounds
        self.output_range = ActivationRange(bits, minimum=low, maximum=high) if wanted else None
        self._target: _Target | None = None

    @property
    def layer(self) -> Layer:
        """The layer this is attached to."""
        if self._target is None:
            raise invalid("The compressor is not attached to a layer.", layer=self.plan.layer)
        return self._target.layer

    def attach(self, layers: Mapping[str, Layer]) -> None:
        """Redirects the call of the planned layer.

        Args:
            layers: Layers of the model by path.

        Raises:
            InvalidArgumentError: When the model has no such layer.
        """
        path = self.plan.layer
        if path not in layers:
            raise invalid("The model has no layer at this path.", layer=path)
        self._target = _Target(
            layers[path], layers.get(self.batch_norm or ""), layers.get(self.activation or "")
        )
        for name, axis in self._touched().items():
            if name not in self.states:
                self.states[name] = KernelState(self, name, self.plan, axis, self._float32(name))
        self._constrain()
        if self._target.activation is not None and self.zero_share is None:
            self.zero_share = ZeroShare(self._num_channels(), name="zero_share")
        self.built = True
        redirect(self.layer, self._compressed_call)
        if self.zero_share is not None:
            redirect(self._target.activation, self._counting_call)

    def _constrain(self) -> None:
        for name, state in self.states.items():
            if state.mask is not None:
                weight = weight_of(self.layer, name)
                self._target.constraints.append((weight, constrain(weight, state.masked)))

    def detach(self) -> None:
        """Gives the layer its own call back."""
        for weight, constraint in self._target.constraints:
            release(weight, constraint)
        self._target.constraints.clear()
        restore(self.layer)
        if self._target.activation is not None:
            restore(self._target.activation)

    def _touched(self) -> Mapping[str, tuple[int, ...]]:
        """Kernels that the plan changes or observes, with their channel axes."""
        plan = self.plan
        changes = plan.prunes or plan.is_scored or plan.weight_bits < _FLOAT_BITS
        return self.kernels if changes else {}

    def _num_channels(self) -> int:
        name, axis = list(self.kernels.items())[-1]
        return math.prod(weight_of(self.layer, name).shape[a] for a in axis)

    @property
    def masks(self) -> dict[str, keras.Variable]:
        """Kernel attribute to its mask, for the kernels that are pruned."""
        return {name: state.mask for name, state in self.states.items() if state.mask is not None}

    @property
    def follows_schedule(self) -> bool:
        """Whether `update_masks` changes anything: masks, codebooks or ranges of grids."""
        states = self.states.values()
        return any(s.mask is not None or s.quantizer_state is not None for s in states)

    @property
    def lacks_statistics(self) -> bool:
        """Whether the score looks at gradients or results and has seen none."""
        unknown = self.zero_share is not None and not self.zero_share.is_known
        return unknown or any(state.lacks_saliency for state in self.states.values())

    def _counting_call(self, call: Call) -> Call:
        def counting_call(*args: Any, **kwargs: Any) -> Any:
            return self.zero_share(call(*args, **kwargs))

        counting_call.compressor = getattr(call, "compressor", None)
        counting_call.pruners = getattr(call, "pruners", ())
        return counting_call

    def _compressed_call(self, call: Call) -> Call:
        def compressed_call(*args: Any, **kwargs: Any) -> Any:
            if self.only_clips and self.output_range is not None:
                return self.output_range(*args, **kwargs)
            substitutes = self(_NOTHING)
            if substitutes:
                outputs = call_with_weights(self.layer, call, substitutes, *args, **kwargs)
            else:
                outputs = call(*args, **kwargs)
            return outputs if self.output_range is None else self.output_range(outputs)

        compressed_call.compressor = self
        compressed_call.pruners = getattr(call, "pruners", ())
        return compressed_call

    def call(self, inputs: Any = _NOTHING) -> dict[str, tf.Tensor]:
        """Computes the compressed kernels in full precision, whatever the layer's dtype policy.

        Keras suspends automatic casting in the call of a layer with `autocast=False`, as this is.

        Args:
            inputs: Not used; every Keras layer is called on something.

        Returns:
            What `compressed_kernels` returns.
        """
        del inputs
        return self.compressed_kernels()

    def compressed_kernels(self) -> dict[str, tf.Tensor]:
        """Computes the masked, fake-quantised kernels; empty for an untouched layer.

        Returns:
            Kernel attribute to tensor, with straight-through gradients to the layer's variables.
        """
        return {
            name: state.compressed(self._weight(name), self._gain(name))
            for name, state in self.states.items()
        }

    def update_masks(self, fraction: float = 1.0) -> None:
        """Chooses masks, codebooks and ranges of grids anew from the present weights.

        Scores that need what training tells fall back to the magnitude until training has begun.

        Args:
            fraction: Share of the planned sparsity, or of the threshold, to reach, in [0, 1].
        """
        for name, state in self.states.items():
            state.update(self._float32(name), fraction, **self._facts(name))

    def complete_masks(self) -> None:
        """Chooses masks that keep more than the plan allows anew.

        Masks at their target stay as they are: the weights have been trained for these masks.
        """
        for name, state in self.states.items():
            state.complete(self._float32(name), **self._facts(name))

    def _float32(self, name: str) -> tf.Tensor:
        """A kernel in the precision that masks and grids are chosen in."""
        return tf.cast(self._weight(name), tf.float32)

    def _weight(self, name: str) -> tf.Tensor:
        return tf.convert_to_tensor(weight_of(self.layer, name))

    def scores(self, name: str) -> tf.Tensor:
        """Scores the weights of a kernel as the plan says; larger is kept.

        Args:
            name: Kernel attribute of the layer.

        Returns:
            Scores of the kernel's shape, float32.
        """
        return self.states[name].scores(self._weight(name), **self._facts(name))

    def _facts(self, name: str) -> dict[str, tf.Tensor | None]:
        """What is known of the output channels of a kernel; of several, only of the last one's."""
        return {"gain": self._gain(name), "zero_share": self._known_zero_share(name)}

    def _known_zero_share(self, name: str) -> tf.Tensor | None:
        if name != self._last or self.zero_share is None or not self.zero_share.is_known:
            return None
        axes, shape = self.kernels[name], weight_of(self.layer, name).shape
        extents = [n if axis in axes else 1 for axis, n in enumerate(shape)]
        return tf.reshape(tf.convert_to_tensor(self.zero_share.share), extents)

    def _gain(self, name: str) -> tf.Tensor | None:
        batch_norm = self._target.batch_norm if self._target and name == self._last else None
        return deployed_gain(batch_norm, weight_of(self.layer, name).shape, self.kernels[name])

    def bake(self, layer: Layer) -> None:
        """Writes the compressed kernels into a layer, for good.

        Args:
            layer: This compressor's layer, or its copy in another model.
        """
        for name, kernel in self.compressed_kernels().items():
            weight_of(layer, name).assign(kernel)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this compressor again."""
        return {
            **super().get_config(),
            "plan": dataclasses.asdict(self.plan),
            "kernels": {name: list(axis) for name, axis in self.kernels.items()},
            "batch_norm": self.batch_norm,
            "quantize_output": self.quantize_output,
            "bounds": list(self.bounds),
            "only_clips": self.only_clips,
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerCompressor":
        """Makes the compressor from `get_config`."""
        config = {key: value for key, value in config.items() if key != "autocast"}
        return cls(**{**config, "plan": LayerPlan(**config["plan"])})
