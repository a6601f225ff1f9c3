"""Rectangles of weights over inputs and outputs."""

import tensorflow as tf

from tf_metacompress.ops.masks import top_k_mask
from tf_metacompress.ops.patterns.registry import MaskRequest

KIND = "block"


def mask(scores: tf.Tensor, request: MaskRequest) -> tf.Tensor:
    """Removes the lowest-scoring blocks.

    Blocks lie on the last two axes, height along the first of them; a convolution has such a plane
    at each position of its window. The score of a block is the mean or the maximum of its weights.

    Paper: Narang, Undersander, Diamos, "Block-Sparse Recurrent Neural Networks", 2017,
    arXiv:1711.02782.

    Args:
        scores: A shape whose last two axes are multiples of the block, floating.
        request: What to reach.

    Returns:
        Mask of the shape and dtype of `scores`.
    """
    height, width = request.spec.block
    rows, columns = scores.shape[-2], scores.shape[-1]
    blocks = tf.reshape(scores, [-1, rows // height, height, columns // width, width])
    reduce = tf.reduce_max if request.spec.pooling == "max" else tf.reduce_mean
    pooled = reduce(blocks, axis=(2, 4), keepdims=True)
    kept = top_k_mask(pooled, request.sparsity * request.fraction)
    return tf.reshape(tf.broadcast_to(kept, tf.shape(blocks)), tf.shape(scores))
