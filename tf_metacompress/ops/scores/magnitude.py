"""The magnitude of a weight in the deployed network."""

import tensorflow as tf

from tf_metacompress.ops.masks import magnitude_scores
from tf_metacompress.ops.scores.registry import Score, ScoreInputs


def scores(inputs: ScoreInputs) -> tf.Tensor:
    """Scores weights by their magnitude, times the gain of their channel.

    Paper: Han, Pool, Tran, Dally 2015, arXiv:1506.02626.

    Args:
        inputs: Looked at: `kernel`, `channel_gain`.

    Returns:
        Scores of the kernel's shape and dtype.
    """
    return magnitude_scores(inputs.kernel, inputs.channel_gain)


SCORE = Score(name="magnitude", function=scores)
