"""Fake quantisation of activations over a moving-average range."""

from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import check_choice, check_fraction
from tf_metacompress.ops import NUM_BITS, fake_quantize_affine

Layer = keras.layers.Layer


@keras.saving.register_keras_serializable(package="tf_metacompress")
class ActivationRange(Layer):
    """Learns the range of a tensor while training and rounds it to the grid of that range.

    The range is the moving average of each batch's minimum and maximum. It stands still at
    inference and once frozen. Before the first training batch the tensor passes unchanged.

    Paper: Jacob et al. 2018, arXiv:1712.05877.

    Args:
        num_bits: Bits of an activation, 2 to 16.
        momentum: Weight of the old range in the moving average, in [0, 1).
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: If `num_bits` or `momentum` is out of range.

    Example:
        >>> quantize = ActivationRange(num_bits=2)
        >>> y = quantize(tf.constant([[0.0, 0.2, 1.5]]), training=True)
        >>> y.numpy().tolist()
        [[0.0, 0.0, 1.5]]
    """

    def __init__(self, num_bits: int = 8, momentum: float = 0.95, **kwargs: Any) -> None:
        check_choice("num_bits", num_bits, NUM_BITS)
        check_fraction("momentum", momentum)
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.num_bits = num_bits
        self.momentum = momentum
        self.range_min = self._state("range_min")
        self.range_max = self._state("range_max")
        self.num_updates = self._state("num_updates")
        self.frozen = self._state("frozen")
        self.built = True

    def _state(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(), initializer="zeros", trainable=False, dtype="float32"
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Rounds `inputs` to the present range, which a training batch first updates.

        Args:
            inputs: Any shape, floating.
            training: Whether to update the range.

        Returns:
            Tensor of the shape and dtype of `inputs`.
        """
        x = tf.cast(inputs, tf.float32)
        if training:
            self._update(tf.reduce_min(x), tf.reduce_max(x))
        quantized = tf.cond(
            tf.convert_to_tensor(self.num_updates) > 0,
            lambda: fake_quantize_affine(
                x,
                tf.convert_to_tensor(self.range_min),
                tf.convert_to_tensor(self.range_max),
                self.num_bits,
            ),
            lambda: x,
        )
        return tf.cast(quantized, inputs.dtype)

    def _update(self, batch_min: tf.Tensor, batch_max: tf.Tensor) -> None:
        first = tf.convert_to_tensor(self.num_updates) == 0
        frozen = tf.convert_to_tensor(self.frozen) > 0
        share = tf.where(first, 1.0, tf.where(frozen, 0.0, 1.0 - self.momentum))
        for variable, value in ((self.range_min, batch_min), (self.range_max, batch_max)):
            old = tf.convert_to_tensor(variable)
            variable.assign(old + share * (tf.stop_gradient(value) - old))
        self.num_updates.assign(tf.convert_to_tensor(self.num_updates) + 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "num_bits": self.num_bits, "momentum": self.momentum}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ActivationRange":
        """Makes the layer from `get_config`."""
        return cls(**{key: value for key, value in config.items() if key != "autocast"})
