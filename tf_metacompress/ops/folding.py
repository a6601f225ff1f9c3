"""BatchNormalization folded into the kernel before it."""

from collections.abc import Sequence

import tensorflow as tf


def folding_gain(
    gamma: tf.Tensor | None,
    variance: tf.Tensor,
    epsilon: float,
    kernel_shape: Sequence[int],
    channel_axis: Sequence[int],
) -> tf.Tensor:
    """What inference multiplies a kernel with when BatchNormalization follows: γ / √(σ² + ε).

    A positive factor a channel leaves the integers of a symmetric per-channel grid as they are, so
    quantising before or after the fold is the same.

    Args:
        gamma: Shape (channels,), or None for one.
        variance: Moving variance, shape (channels,).
        epsilon: Added to the variance.
        kernel_shape: Shape of the kernel.
        channel_axis: Axes of its output channels; their extents multiply to `channels`.

    Returns:
        Gain, broadcastable to the kernel.

    Example:
        >>> folding_gain(tf.constant([2.0]), tf.constant([4.0]), 0.0, (3, 1), (1,)).numpy().tolist()
        [[1.0]]
    """
    gain = tf.math.rsqrt(variance + epsilon)
    gain = gain if gamma is None else gain * gamma
    axes = tuple(channel_axis)
    extents = [n if axis in axes else 1 for axis, n in enumerate(kernel_shape)]
    return tf.reshape(gain, extents)
