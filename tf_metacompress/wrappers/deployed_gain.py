"""What deployment multiplies the channels of a kernel with."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_metacompress.ops import folding_gain


def deployed_gain(
    batch_norm: keras.layers.BatchNormalization | None,
    kernel_shape: Sequence[int],
    channel_axis: Sequence[int],
) -> tf.Tensor | None:
    """Reads the gain of the BatchNormalization behind a kernel.

    Args:
        batch_norm: A built layer, or None.
        kernel_shape: Shape of the kernel.
        channel_axis: Axes of its output channels.

    Returns:
        Gain in float32, broadcastable to the kernel; None without BatchNormalization.
    """
    if batch_norm is None:
        return None
    gamma = tf.cast(batch_norm.gamma, tf.float32) if batch_norm.scale else None
    variance = tf.cast(batch_norm.moving_variance, tf.float32)
    return folding_gain(gamma, variance, batch_norm.epsilon, kernel_shape, channel_axis)
