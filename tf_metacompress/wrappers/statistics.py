"""What ordinary training tells about weights, gathered on the way: no data is asked for."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import check_fraction, check_int
from tf_metacompress.ops import taylor_saliency, zero_share

Layer = keras.layers.Layer
_MOMENTUM = 0.95


def observe_gradient(x: tf.Tensor, observe: Callable[[tf.Tensor], None]) -> tf.Tensor:
    """Hands a tensor on unchanged, and its gradient too, after showing it to `observe`.

    Args:
        x: Any tensor.
        observe: Called with the gradient, while it is computed.

    Returns:
        A tensor equal to `x`.

    Example:
        >>> seen = []
        >>> x = tf.constant([2.0, 3.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = tf.reduce_sum(observe_gradient(x, seen.append) ** 2)
        >>> tape.gradient(y, x).numpy().tolist(), seen[0].numpy().tolist()
        ([4.0, 6.0], [4.0, 6.0])
    """

    @tf.custom_gradient
    def identity(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            observe(tf.stop_gradient(tf.convert_to_tensor(upstream)))
            return upstream

        return tf.identity(value), gradient

    return identity(x)


def update_saliency(saliency: keras.Variable, kernel: tf.Tensor, gradient: tf.Tensor) -> None:
    """Moves an average of |weight · gradient| by one batch.

    What is not finite, as after an overflow under mixed precision, leaves the average as it is.

    Args:
        saliency: The average, of the kernel's shape.
        kernel: Weights.
        gradient: Gradient of the loss with respect to them, as the layer uses them.
    """
    old = tf.convert_to_tensor(saliency)
    new = taylor_saliency(tf.cast(kernel, old.dtype), tf.cast(gradient, old.dtype))
    new = tf.where(tf.math.is_finite(new), new, old)
    saliency.assign(tf.stop_gradient(old + (1.0 - _MOMENTUM) * (new - old)))


@keras.saving.register_keras_serializable(package="tf_metacompress")
class ZeroShare(Layer):
    """Averages, while training, the share of zeros in each channel of what passes through it.

    Paper: Hu, Peng, Tai, Tang, "Network Trimming", 2016, arXiv:1607.03250.

    Args:
        num_channels: Channels, on the last axis.
        momentum: Weight of the old share in the moving average, in [0, 1).
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: If an argument is out of range.

    Example:
        >>> count = ZeroShare(2)
        >>> _ = count(tf.constant([[0.0, 1.0], [0.0, 0.0]]), training=True)
        >>> count.share.numpy().tolist()
        [1.0, 0.5]
    """

    def __init__(self, num_channels: int, momentum: float = _MOMENTUM, **kwargs: Any) -> None:
        check_int("num_channels", num_channels, 1)
        check_fraction("momentum", momentum)
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.num_channels = num_channels
        self.momentum = momentum
        self.share = self.add_weight(
            name="share",
            shape=(num_channels,),
            initializer=keras.initializers.Constant(-1.0),
            trainable=False,
            dtype="float32",
            aggregation="mean",
        )
        self.built = True

    @property
    def is_known(self) -> bool:
        """Whether a training batch has passed."""
        return bool(tf.reduce_min(tf.convert_to_tensor(self.share)) >= 0.0)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Hands a tensor on unchanged and, in training, counts its zeros.

        Args:
            inputs: Floating, channels on the last axis.
            training: Whether to count.

        Returns:
            `inputs`.
        """
        if training:
            old = tf.convert_to_tensor(self.share)
            new = zero_share(tf.stop_gradient(inputs), self.num_channels)
            moved = self.momentum * old + (1.0 - self.momentum) * new
            self.share.assign(tf.where(old < 0.0, new, moved))
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "num_channels": self.num_channels,
            "momentum": self.momentum,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ZeroShare":
        """Makes the layer from `get_config`."""
        return cls(**{key: value for key, value in config.items() if key != "autocast"})
