"""How much the loss would change, to first order, if a weight were zero."""

import tensorflow as tf

from tf_metacompress.ops.scores.registry import Score, ScoreInputs


def taylor_saliency(kernel: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """First-order estimate of the change of the loss when a weight is removed: |w · ∂L/∂w|.

    Paper: Molchanov et al. 2019, arXiv:1906.10771, and 2017, arXiv:1611.06440.

    Args:
        kernel: Weights, any shape, floating.
        gradient: Gradient of the loss, of the same shape.

    Returns:
        Non-negative values of the same shape.

    Example:
        >>> taylor_saliency(tf.constant([2.0, -3.0]), tf.constant([0.5, 0.25])).numpy().tolist()
        [1.0, 0.75]
    """
    return tf.abs(kernel * gradient)


def scores(inputs: ScoreInputs) -> tf.Tensor:
    """Scores weights by the saliency that training has averaged.

    Args:
        inputs: Looked at: `saliency`.

    Returns:
        Scores of the kernel's shape and dtype.
    """
    return tf.cast(inputs.saliency, inputs.kernel.dtype)


SCORE = Score(name="taylor", function=scores, needs=("saliency",))
