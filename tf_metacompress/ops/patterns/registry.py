"""The structures by kind, and the one function that makes a mask in any of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tf_metacompress.errors import check_choice, check_fraction, invalid
from tf_metacompress.policy import PatternSpec, parse_pattern
from tf_metacompress.policy.pattern import misfit


@dataclass(frozen=True, kw_only=True)
class MaskRequest:
    """What a mask must reach, beside the scores.

    Attributes:
        spec: The structure with its sizes.
        sparsity: Fraction of zeros once `fraction` is one, in [0, 1).
        fraction: Share of that target to reach, in [0, 1].
        channel_axis: Axes of the output channels.
    """

    spec: PatternSpec
    sparsity: float
    fraction: float = 1.0
    channel_axis: tuple[int, ...] = ()


MaskFunction = Callable[[tf.Tensor, MaskRequest], tf.Tensor]
"""Scores of any shape and a request to a mask of that shape; 1 keeps a weight."""

_PATTERNS: dict[str, MaskFunction] = {}


def register_pattern(kind: str, mask: MaskFunction) -> None:
    """Makes a structure known.

    Args:
        kind: The `PatternSpec.kind` it is for.
        mask: Makes a mask from scores and a request.
    """
    _PATTERNS[kind] = mask


def patterns() -> tuple[str, ...]:
    """Gives the kinds of the structures that are known."""
    return tuple(_PATTERNS)


def pattern_mask(
    scores: tf.Tensor,
    pattern: str | PatternSpec,
    sparsity: float = 0.0,
    *,
    fraction: float = 1.0,
    channel_axis: Sequence[int] = (),
) -> tf.Tensor:
    """Makes the mask that removes the lowest scores in a structure.

    The number of removed units (weights, blocks, channels) is exact: `round(sparsity · fraction ·
    units)`, or `round(fraction · (M − N))` in each group of an N:M pattern. Among equal scores the
    earlier are kept. At least one unit stays.

    Args:
        scores: Score of each weight, a shape that the structure divides, floating. Larger is kept.
        pattern: The structure, such as "2:4" or "block:4x4:max".
        sparsity: Fraction of zeros, in [0, 1); an N:M pattern has its own.
        fraction: Share of the target to reach, in [0, 1].
        channel_axis: Axes of the output channels, for "channel" and "N:M".

    Returns:
        Mask of the shape and dtype of `scores`; 1 keeps a weight, 0 removes it.

    Raises:
        InvalidArgumentError: If a number is out of its range, or the structure does not fit.

    Example:
        >>> scores = tf.constant([[4.0], [1.0], [2.0], [3.0]])
        >>> pattern_mask(scores, "2:4", channel_axis=(1,)).numpy().ravel().tolist()
        [1.0, 0.0, 0.0, 1.0]
    """
    spec = pattern if isinstance(pattern, PatternSpec) else parse_pattern(pattern)
    check_fraction("sparsity", sparsity)
    check_fraction("fraction", fraction, upper_inclusive=True)
    check_choice("pattern", spec.kind, _PATTERNS)
    reason = misfit(spec, scores.shape, channel_axis)
    if reason:
        raise invalid(
            f"The pattern does not fit: {reason}.",
            "Take 'unstructured' or another size.",
            pattern=pattern,
            shape=tuple(scores.shape),
        )
    request = MaskRequest(
        spec=spec, sparsity=sparsity, fraction=fraction, channel_axis=tuple(channel_axis)
    )
    return _PATTERNS[spec.kind](scores, request)
