"""How often the channel that a weight belongs to is active."""

import tensorflow as tf

from tf_metacompress.ops.scores.registry import Score, ScoreInputs


def zero_share(result: tf.Tensor, num_channels: int) -> tf.Tensor:
    """Measures the average share of zeros (APoZ) of each channel of a result.

    Paper: Hu, Peng, Tai, Tang, "Network Trimming", 2016, arXiv:1607.03250.

    Args:
        result: Behind the activation, channels on the last axis.
        num_channels: Their number.

    Returns:
        Shares in [0, 1], float32 of shape (num_channels,).

    Example:
        >>> zero_share(tf.constant([[0.0, 1.0], [0.0, 0.0]]), 2).numpy().tolist()
        [1.0, 0.5]
    """
    rows = tf.reshape(result, [-1, num_channels])
    return tf.reduce_mean(tf.cast(tf.equal(rows, 0), tf.float32), axis=0)


def scores(inputs: ScoreInputs) -> tf.Tensor:
    """Scores weights by how often their output channel is not zero; all of a channel alike.

    Args:
        inputs: Looked at: `kernel` for its shape, `zero_share`.

    Returns:
        Scores of the kernel's shape and dtype, in [0, 1].
    """
    active = 1.0 - tf.cast(inputs.zero_share, inputs.kernel.dtype)
    return tf.broadcast_to(active, tf.shape(inputs.kernel))


SCORE = Score(name="activation", function=scores, needs=("zero_share",))
