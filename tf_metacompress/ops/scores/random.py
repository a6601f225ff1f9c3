"""Chance, the control that every other score must beat."""

import tensorflow as tf

from tf_metacompress.ops.scores.registry import Score, ScoreInputs


def scores(inputs: ScoreInputs) -> tf.Tensor:
    """Scores weights at random; the same seed and shape give the same scores.

    Args:
        inputs: Looked at: `kernel` for its shape, `seed`.

    Returns:
        Scores of the kernel's shape and dtype, uniform in [0, 1).
    """
    shape = tf.shape(inputs.kernel)
    drawn = tf.random.stateless_uniform(shape, seed=(inputs.seed, 0), dtype=tf.float32)
    return tf.cast(drawn, inputs.kernel.dtype)


SCORE = Score(name="random", function=scores)
