"""What can be done to one layer."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tf_metacompress.errors import check_choice, check_fraction, invalid
from tf_metacompress.policy.pattern import parse_pattern
from tf_metacompress.typing import Pattern

WEIGHT_BITS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 16, 32)
"""Widths of a stored weight; 2 to 8 are integers, 16 and 32 floats."""

ACTIVATION_BITS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 16, 32)
"""Widths of an activation; 32 is float."""

_NUM_SPARSITIES = 32
_SMALLEST_KEPT = 0.01
_TOLERANCE = 1e-3

DEFAULT_SPARSITIES: tuple[float, ...] = tuple(
    round(1.0 - _SMALLEST_KEPT ** (step / (_NUM_SPARSITIES - 1)), 6)
    for step in range(_NUM_SPARSITIES)
)
"""0 and 31 more, the kept fraction falling by the same factor each time, down to 0.01."""


@dataclass(frozen=True)
class Action:
    """One way to compress a layer.

    Attributes:
        sparsity: Fraction of zeros, in [0, 1). An N:M pattern implies it.
        weight_bits: 2 to 8, 16 (float16) or 32, which leaves the weights in float32.
        pattern: Structure in which weights are removed.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> Action(sparsity=0.9, weight_bits=4)
        Action(sparsity=0.9, weight_bits=4, pattern='unstructured')
    """

    sparsity: float = 0.0
    weight_bits: int = 8
    pattern: Pattern = "unstructured"

    def __post_init__(self) -> None:
        """Checks the values and turns NumPy scalars into Python numbers."""
        set_field = object.__setattr__
        set_field(self, "weight_bits", check_choice("weight_bits", self.weight_bits, WEIGHT_BITS))
        set_field(self, "sparsity", settle_sparsity(self.sparsity, self.pattern))


def settle_sparsity(sparsity: float, pattern: Pattern) -> float:
    """Checks a sparsity against the structure that it is reached in.

    Args:
        sparsity: Fraction of zeros, in [0, 1).
        pattern: The structure.

    Returns:
        The sparsity; with an N:M pattern 1 - N/M.

    Raises:
        InvalidArgumentError: If either is out of its range, or they contradict each other.

    Example:
        >>> settle_sparsity(0.0, "1:4")
        0.75
    """
    sparsity = check_fraction("sparsity", sparsity)
    implied = parse_pattern(pattern).sparsity
    if implied is None:
        return sparsity
    if sparsity and abs(sparsity - implied) > _TOLERANCE:
        raise invalid(
            f"`sparsity` of the pattern {pattern!r} is {implied:g}.",
            "Leave it out.",
            sparsity=sparsity,
            pattern=pattern,
        )
    return implied


def action_grid(
    sparsities: Sequence[float] = DEFAULT_SPARSITIES,
    weight_bits: Sequence[int] = (4, 8),
) -> tuple[Action, ...]:
    """Combines every sparsity with every number of bits.

    Args:
        sparsities: Fractions of zeros, each in [0, 1).
        weight_bits: Widths of a stored weight.

    Returns:
        One action per combination: all sparsities of the first width, then of the next.

    Raises:
        InvalidArgumentError: If either is empty, has repeats, or a value out of range.

    Example:
        >>> [(a.sparsity, a.weight_bits) for a in action_grid((0.0, 0.5), (4, 8))]
        [(0.0, 4), (0.5, 4), (0.0, 8), (0.5, 8)]
    """
    actions = tuple(
        Action(sparsity=sparsity, weight_bits=bits)
        for bits, sparsity in itertools.product(weight_bits, sparsities)
    )
    if not actions or len(set(actions)) < len(actions):
        raise invalid(
            "`sparsities` and `weight_bits` must be non-empty and without repeats.",
            sparsities=tuple(sparsities),
            weight_bits=tuple(weight_bits),
        )
    return actions
