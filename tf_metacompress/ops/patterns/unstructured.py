"""Single weights, wherever they are."""

import tensorflow as tf

from tf_metacompress.ops.masks import top_k_mask
from tf_metacompress.ops.patterns.registry import MaskRequest

KIND = "unstructured"


def mask(scores: tf.Tensor, request: MaskRequest) -> tf.Tensor:
    """Removes the lowest-scoring weights of one tensor.

    Args:
        scores: Any shape, floating.
        request: What to reach.

    Returns:
        Mask of the shape and dtype of `scores`.
    """
    return top_k_mask(scores, request.sparsity * request.fraction)
