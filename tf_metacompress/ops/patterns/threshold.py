"""All weights below a magnitude, however many they are."""

import tensorflow as tf


def threshold_mask(kernel: tf.Tensor, threshold: tf.Tensor | float) -> tf.Tensor:
    """Removes the weights smaller than a threshold; the largest one stays in any case.

    Args:
        kernel: Weights, any shape, floating.
        threshold: Magnitude from which a weight is kept.

    Returns:
        Mask of the shape and dtype of `kernel`; 1 keeps a weight, 0 removes it.

    Example:
        >>> threshold_mask(tf.constant([-0.3, 0.1, 0.0]), 0.2).numpy().tolist()
        [1.0, 0.0, 0.0]
    """
    magnitudes = tf.abs(kernel)
    limit = tf.minimum(tf.cast(threshold, kernel.dtype), tf.reduce_max(magnitudes))
    return tf.cast(magnitudes >= limit, kernel.dtype)
