"""What compresses one layer of a model: its masks, its bits, the range of its result."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid
from tf_metacompress.layer_tree import Call, call_with_weights, redirect, restore, weight_of
from tf_metacompress.ops import (
    fake_quantize_weights,
    folding_gain,
    magnitude_scores,
    top_k_mask,
)
from tf_metacompress.policy import LayerPlan
from tf_metacompress.wrappers.activation_range import ActivationRange

Layer = keras.layers.Layer
_FLOAT_BITS = 32
_NOTHING = ()


@dataclass(frozen=True)
class _Target:
    """The layer acted on; held in a plain object, so that Keras does not track it twice."""

    layer: Layer
    batch_norm: keras.layers.BatchNormalization | None


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
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.plan = plan
        self.kernels = {name: tuple(axis) for name, axis in kernels.items()}
        self.batch_norm = batch_norm
        self.quantize_output = quantize_output
        self.bounds = tuple(bounds)
        self.only_clips = only_clips
        self.masks: dict[str, keras.Variable] = {}
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
        self._target = _Target(layers[path], layers.get(self.batch_norm or ""))
        for name in self.kernels if self.plan.sparsity > 0 else ():
            if name not in self.masks:
                self.masks[name] = self.add_weight(
                    name=f"{name}_mask",
                    shape=weight_of(self.layer, name).shape,
                    initializer="ones",
                    trainable=False,
                    dtype="float32",
                )
        self.built = True
        redirect(self.layer, self._compressed_call)

    def detach(self) -> None:
        """Gives the layer its own call back."""
        restore(self.layer)

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
        bits = self.plan.weight_bits
        if not self.masks and bits >= _FLOAT_BITS:
            return {}
        kernels = {}
        for name, axis in self.kernels.items():
            kernel = tf.convert_to_tensor(weight_of(self.layer, name))
            if name in self.masks:
                kernel = kernel * tf.convert_to_tensor(self.masks[name])
            if bits < _FLOAT_BITS:
                kernel = fake_quantize_weights(kernel, bits, axis)
            kernels[name] = kernel
        return kernels

    def update_masks(self, fraction: float = 1.0) -> None:
        """Chooses the masks anew from the present weights.

        Args:
            fraction: Share of the planned sparsity to reach, in [0, 1].
        """
        last = list(self.kernels)[-1] if self.kernels else ""
        for name, mask in self.masks.items():
            gain = self._gain(name) if name == last else None
            scores = magnitude_scores(tf.convert_to_tensor(weight_of(self.layer, name)), gain)
            mask.assign(top_k_mask(scores, self.plan.sparsity * fraction))

    def complete_masks(self) -> None:
        """Chooses masks that keep more than the plan allows anew.

        Masks at their target stay as they are: the weights have been trained for these masks.
        """
        for mask in self.masks.values():
            size = math.prod(mask.shape)
            allowed = max(size - round(self.plan.sparsity * size), 1)
            if np.count_nonzero(mask) > allowed:
                self.update_masks()
                return

    def _gain(self, name: str) -> tf.Tensor | None:
        batch_norm = self._target.batch_norm if self._target else None
        if batch_norm is None:
            return None
        return folding_gain(
            tf.convert_to_tensor(batch_norm.gamma) if batch_norm.scale else None,
            tf.convert_to_tensor(batch_norm.moving_variance),
            batch_norm.epsilon,
            weight_of(self.layer, name).shape,
            self.kernels[name],
        )

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
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerCompressor":
        """Makes the compressor from `get_config`."""
        config = {key: value for key, value in config.items() if key != "autocast"}
        return cls(**{**config, "plan": LayerPlan(**config["plan"])})
