"""Fake quantisation of activations over a moving-average range."""

import math
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import check_choice, check_fraction, check_positive, invalid
from tf_metacompress.ops import NUM_BITS, fake_quantize_affine

Layer = keras.layers.Layer


def _check_bounds(minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and not minimum <= 0.0:
        raise invalid("`minimum` must be at most 0, or None.", minimum=minimum)
    if maximum is not None:
        check_positive("maximum", maximum)


@keras.saving.register_keras_serializable(package="tf_metacompress")
class ActivationRange(Layer):
    """Learns the range of a tensor while training and rounds it to the grid of that range.

    The range is the moving average of each batch's minimum and maximum. It stands still at
    inference and once frozen. Before the first training batch the tensor is only clipped to its
    bounds.

    Paper: Jacob et al. 2018, arXiv:1712.05877.

    Args:
        num_bits: Bits of an activation, 2 to 16.
        momentum: Weight of the old range in the moving average, in [0, 1).
        minimum: Bound that the tensor does not fall below, at most 0, or None. With 0 this computes
            a ReLU at no further cost.
        maximum: Bound that it does not exceed, above 0, or None; 6 for a ReLU6.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: If an argument is out of range.

    Example:
        >>> quantize = ActivationRange(num_bits=2)
        >>> y = quantize(tf.constant([[0.0, 0.2, 1.5]]), training=True)
        >>> y.numpy().tolist()
        [[0.0, 0.0, 1.5]]
    """

    def __init__(
        self,
        num_bits: int = 8,
        momentum: float = 0.95,
        minimum: float | None = None,
        maximum: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("num_bits", num_bits, NUM_BITS)
        check_fraction("momentum", momentum)
        _check_bounds(minimum, maximum)
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.num_bits = num_bits
        self.momentum = momentum
        self.minimum = minimum
        self.maximum = maximum
        self.range_min = self._state("range_min")
        self.range_max = self._state("range_max")
        self.frozen = self._state("frozen")
        self.built = True

    def _state(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            aggregation="mean",
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Rounds `inputs` to the present range, which a training batch first updates.

        Args:
            inputs: Any shape, floating.
            training: Whether to update the range.

        Returns:
            Tensor of the shape and dtype of `inputs`.
        """
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        if training:
            self._update(x)
            return tf.cast(self._rounded(x), inputs.dtype)
        # Both, rather than tf.cond, whose second derivative TensorFlow fails to build.
        passed = tf.where(self._has_range(), self._rounded(x), self.clipped(x))
        return tf.cast(passed, inputs.dtype)

    def _has_range(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.range_max) > tf.convert_to_tensor(self.range_min)

    def _rounded(self, x: tf.Tensor) -> tf.Tensor:
        low = 0.0 if self.minimum == 0.0 else tf.convert_to_tensor(self.range_min)
        return fake_quantize_affine(x, low, tf.convert_to_tensor(self.range_max), self.num_bits)

    def clipped(self, x: tf.Tensor) -> tf.Tensor:
        """Clips a tensor to `minimum` and `maximum`.

        Args:
            x: Any shape, floating.

        Returns:
            Tensor of its shape and dtype.
        """
        x = x if self.minimum is None else tf.maximum(x, self.minimum)
        return x if self.maximum is None else tf.minimum(x, self.maximum)

    def set_range(self, low: float, high: float) -> None:
        """Sets the range, as calibration measured it.

        Args:
            low: Smallest value to represent.
            high: Largest value to represent, at least `low`.

        Raises:
            InvalidArgumentError: If they are not finite and in order.
        """
        if not -math.inf < low <= high < math.inf:
            raise invalid("A range needs finite `low` ≤ `high`.", low=low, high=high)
        self.range_min.assign(low)
        self.range_max.assign(high)

    def _update(self, x: tf.Tensor) -> None:
        share = (1.0 - self.momentum) * (1.0 - tf.convert_to_tensor(self.frozen))
        share = tf.where(self._has_range(), share, 1.0)
        extremes = [(self.range_max, tf.reduce_max(x))]
        if self.minimum != 0.0:
            extremes.append((self.range_min, tf.reduce_min(x)))
        for variable, value in extremes:
            value = tf.cast(tf.stop_gradient(self.clipped(value)), tf.float32)
            variable.assign_add(share * (value - tf.convert_to_tensor(variable)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "momentum": self.momentum,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ActivationRange":
        """Makes the layer from `get_config`."""
        return cls(**{key: value for key, value in config.items() if key != "autocast"})
