"""The scores by name."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.policy import allow

STATISTICS: tuple[str, ...] = ("saliency", "zero_share")
"""What training can gather for a score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreInputs:
    """All that a score may look at.

    Attributes:
        kernel: Weights, any shape, floating.
        channel_gain: What deployment multiplies each output channel with, broadcastable to the
            kernel; None for one.
        saliency: Moving average of |weight · gradient|, of the kernel's shape.
        zero_share: Share of zeros in the result of each output channel, in [0, 1], broadcastable
            to the kernel.
        seed: Seed of what is random; the same seed gives the same scores.
    """

    kernel: tf.Tensor
    channel_gain: tf.Tensor | None = None
    saliency: tf.Tensor | None = None
    zero_share: tf.Tensor | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score and what it needs.

    Attributes:
        name: How rules call it.
        function: Gives non-negative scores of the kernel's shape and dtype; larger is kept.
        needs: Names of the statistics it looks at, among "saliency" and "zero_share".
    """

    name: str
    function: Callable[[ScoreInputs], tf.Tensor]
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the statistics."""
        for name in self.needs:
            check_choice("needs", name, STATISTICS)


_SCORES: dict[str, Score] = {}


def register_score(score: Score) -> None:
    """Makes a score known to rules and plans.

    Args:
        score: The score; one of the same name is replaced.

    Example:
        >>> register_score(Score(name="square", function=lambda inputs: inputs.kernel**2))
        >>> get_score("square").needs
        ()
    """
    _SCORES[score.name] = score
    allow("score", score.name)


def get_score(name: str) -> Score:
    """Finds a score.

    Args:
        name: Its name.

    Returns:
        The score.

    Raises:
        InvalidArgumentError: If there is none of that name; a near one is suggested.
    """
    return _SCORES[check_choice("score", name, _SCORES)]
