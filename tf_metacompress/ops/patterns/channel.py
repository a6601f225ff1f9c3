"""Whole output channels of one kernel."""

import tensorflow as tf

from tf_metacompress.ops.masks import top_k_mask
from tf_metacompress.ops.patterns.registry import MaskRequest

KIND = "channel"


def mask(scores: tf.Tensor, request: MaskRequest) -> tf.Tensor:
    """Removes the output channels with the lowest mean score.

    Paper: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets", 2017,
    arXiv:1608.08710.

    Args:
        scores: A kernel's shape, floating.
        request: What to reach.

    Returns:
        Mask of the shape and dtype of `scores`, the same over each channel.
    """
    others = [axis for axis in range(scores.shape.rank) if axis not in request.channel_axis]
    pooled = tf.reduce_mean(scores, axis=others, keepdims=True)
    kept = top_k_mask(pooled, request.sparsity * request.fraction)
    return tf.broadcast_to(kept, tf.shape(scores))
