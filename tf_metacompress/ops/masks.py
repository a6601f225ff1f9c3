"""Masks: which weights of a tensor stay."""

import tensorflow as tf

from tf_metacompress.errors import check_fraction


def magnitude_scores(kernel: tf.Tensor, channel_gain: tf.Tensor | None = None) -> tf.Tensor:
    """Scores weights by their magnitude in the deployed network.

    A kernel followed by BatchNormalization is deployed multiplied by a gain per output channel; the
    magnitude that matters is that of the product.

    Args:
        kernel: Weights, any shape, floating.
        channel_gain: Gain of each output channel, broadcastable to `kernel`; None for one.

    Returns:
        Non-negative scores of the shape and dtype of `kernel`. Larger is kept.

    Example:
        >>> magnitude_scores(tf.constant([[-2.0, 1.0]]), tf.constant([1.0, 3.0])).numpy().tolist()
        [[2.0, 3.0]]
    """
    scores = tf.abs(kernel)
    return scores if channel_gain is None else scores * tf.abs(channel_gain)


def top_k_mask(scores: tf.Tensor, sparsity: tf.Tensor | float) -> tf.Tensor:
    """Keeps the highest-scoring weights of one tensor.

    Exactly `round(sparsity · size)` weights are removed; among equal scores the earlier are kept.
    At least one weight stays.

    Args:
        scores: Score of each weight, any shape, floating. Larger is kept.
        sparsity: Fraction to remove, in [0, 1). A scalar.

    Returns:
        Mask of the shape and dtype of `scores`; 1 keeps a weight, 0 removes it.

    Raises:
        InvalidArgumentError: If a Python `sparsity` is outside [0, 1).

    Example:
        >>> top_k_mask(tf.constant([3.0, 1.0, 2.0, 4.0]), 0.5).numpy().tolist()
        [1.0, 0.0, 0.0, 1.0]
    """
    if isinstance(sparsity, (int, float)):
        # TensorFlow would read a Python number as float32, and 0.7 · 5 then rounds to 3, not to 4.
        sparsity = tf.constant(check_fraction("sparsity", sparsity), tf.float64)
    flat = tf.reshape(scores, [-1])
    size = tf.size(flat)
    removed = tf.cast(tf.round(tf.cast(sparsity, tf.float64) * tf.cast(size, tf.float64)), tf.int32)
    num_kept = tf.maximum(size - removed, 1)
    order = tf.argsort(flat, direction="DESCENDING", stable=True)
    keeps = tf.cast(tf.range(size) < num_kept, flat.dtype)
    mask = tf.scatter_nd(order[:, None], keeps, tf.shape(flat))
    return tf.reshape(mask, tf.shape(scores))


def masked_sparsity(mask: tf.Tensor) -> tf.Tensor:
    """Fraction of zeros of a mask or a kernel.

    Args:
        mask: Any shape, floating.

    Returns:
        Scalar float32 in [0, 1].

    Example:
        >>> float(masked_sparsity(tf.constant([1.0, 0.0, 0.0, 1.0])))
        0.5
    """
    return tf.math.zero_fraction(mask)
