"""N of every M weights along the input axis, as sparse matrix units read them."""

import tensorflow as tf

from tf_metacompress.ops.patterns.registry import MaskRequest
from tf_metacompress.policy import input_axis

KIND = "N:M"


def mask(scores: tf.Tensor, request: MaskRequest) -> tf.Tensor:
    """Keeps the N highest-scoring of every M consecutive weights along the input axis.

    While the target is approached, `round(fraction · (M − N))` weights of each group are removed.

    Paper: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378.

    Args:
        scores: A kernel's shape, its input axis a multiple of M, floating.
        request: What to reach; its sparsity is not looked at.

    Returns:
        Mask of the shape and dtype of `scores`.
    """
    spec, rank = request.spec, scores.shape.rank
    axis = input_axis(scores.shape, request.channel_axis)
    num_kept = spec.m - round(request.fraction * (spec.m - spec.n))
    order = [*(other for other in range(rank) if other != axis), axis]
    moved = tf.transpose(scores, order)
    groups = tf.reshape(moved, [-1, spec.m])
    ranks = tf.argsort(tf.argsort(groups, direction="DESCENDING", stable=True))
    kept = tf.reshape(tf.cast(ranks < num_kept, scores.dtype), tf.shape(moved))
    back = [order.index(other) for other in range(rank)]
    return tf.transpose(kept, back)
