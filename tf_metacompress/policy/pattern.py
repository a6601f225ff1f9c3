"""Structures in which weights are removed, read from their short names."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tf_metacompress.errors import did_you_mean, invalid

PATTERN_KINDS: tuple[str, ...] = ("unstructured", "channel", "N:M", "block")
"""What a structure can be; "N:M" and "block" stand for all sizes."""

POOLINGS: tuple[str, ...] = ("avg", "max")
"""How the scores of a block become one."""

_DEFAULT_BLOCK = (4, 4)
_N_OF_M = re.compile(r"(\d+):(\d+)")
_BLOCK = re.compile(r"block(?::(\d+)x(\d+)(?::(\w+))?)?")


@dataclass(frozen=True)
class PatternSpec:
    """A structure with its sizes.

    Attributes:
        kind: "unstructured", "channel", "N:M" or "block".
        n: Weights kept in each group of an N:M pattern, else 0.
        m: Size of that group, else 0.
        block: Height (along the inputs) and width (along the outputs) of a block, else (1, 1).
        pooling: How the scores of a block become one, "avg" or "max".

    Example:
        >>> parse_pattern("2:4")
        PatternSpec(kind='N:M', n=2, m=4, block=(1, 1), pooling='avg')
    """

    kind: str
    n: int = 0
    m: int = 0
    block: tuple[int, int] = (1, 1)
    pooling: str = "avg"

    @property
    def sparsity(self) -> float | None:
        """Fraction of zeros that the structure implies, or None when it implies none."""
        return 1.0 - self.n / self.m if self.kind == "N:M" else None


def parse_pattern(text: object) -> PatternSpec:
    """Reads the name of a structure.

    Args:
        text: "unstructured", "channel", "N:M" such as "2:4" (keep 2 of every 4 weights along the
            input axis), "block" (of 4x4), "block:AxB" or "block:AxB:max".

    Returns:
        The structure.

    Raises:
        InvalidArgumentError: If the text names none.

    Example:
        >>> parse_pattern("block:8x1:max").block
        (8, 1)
    """
    if isinstance(text, str):
        if text in ("unstructured", "channel"):
            return PatternSpec(text)
        if groups := _N_OF_M.fullmatch(text):
            return _n_of_m(text, *map(int, groups.groups()))
        if groups := _BLOCK.fullmatch(text):
            return _block(text, *groups.groups())
    raise invalid(
        "`pattern` must be 'unstructured', 'channel', 'N:M' such as '2:4', or 'block' such as "
        "'block:4x4'.",
        did_you_mean(text, ("unstructured", "channel", "block", "block:4x4:max")),
        pattern=text,
    )


def input_axis(shape: Sequence[int], channel_axis: Sequence[int]) -> int | None:
    """Finds the axis of a kernel along which it sums its inputs.

    Args:
        shape: Shape of the kernel.
        channel_axis: Axes of its output channels.

    Returns:
        The last axis that holds no output channels; None for a depthwise kernel, which never sums
        over channels.

    Example:
        >>> input_axis((3, 3, 16, 32), (3,)), input_axis((3, 3, 16, 1), (2, 3))
        (2, None)
    """
    rank = len(shape)
    others = [axis for axis in (rank - 2, rank - 1) if axis not in tuple(channel_axis)]
    return others[-1] if rank >= 2 and others else None


def num_units(spec: PatternSpec, shape: Sequence[int], channel_axis: Sequence[int]) -> int:
    """Counts what a structure removes as a whole: weights, blocks, channels or groups.

    Args:
        spec: The structure; its sizes must divide the shape.
        shape: Shape of the kernel.
        channel_axis: Axes of its output channels.

    Returns:
        The number of units.

    Example:
        >>> num_units(parse_pattern("block:4x4"), (16, 8), (1,))
        8
    """
    size = math.prod(shape)
    if spec.kind == "channel":
        return math.prod(shape[axis] for axis in channel_axis)
    if spec.kind == "N:M":
        return size // spec.m
    return size // math.prod(spec.block)


def misfit(spec: PatternSpec, shape: Sequence[int], channel_axis: Sequence[int]) -> str:
    """Says why a structure does not fit a kernel.

    Args:
        spec: The structure.
        shape: Shape of the kernel.
        channel_axis: Axes of its output channels.

    Returns:
        A clause such as "its input axis of 3 is no multiple of 4", or "" when it fits.

    Example:
        >>> misfit(parse_pattern("2:4"), (3, 3, 3, 8), (3,))
        'its input axis of 3 is no multiple of 4'
    """
    if spec.kind == "N:M":
        axis = input_axis(shape, channel_axis)
        if axis is None:
            return "a depthwise kernel has no input axis"
        if shape[axis] % spec.m:
            return f"its input axis of {shape[axis]} is no multiple of {spec.m}"
    if spec.kind == "block":
        if len(shape) < 2:
            return "it has one axis only"
        last = tuple(shape[-2:])
        if last[0] % spec.block[0] or last[1] % spec.block[1]:
            return f"its last two axes of {last[0]}x{last[1]} cannot be cut into such blocks"
    return ""


def _n_of_m(text: str, n: int, m: int) -> PatternSpec:
    if not 0 < n < m:
        raise invalid(
            "`pattern` N:M keeps N of every M weights, with 0 < N < M.",
            "'2:4' keeps two of every four.",
            pattern=text,
        )
    return PatternSpec("N:M", n, m)


def _block(text: str, height: str | None, width: str | None, pooling: str | None) -> PatternSpec:
    block = (int(height), int(width)) if height and width else _DEFAULT_BLOCK
    pooling = pooling or POOLINGS[0]
    if min(block) < 1 or pooling not in POOLINGS:
        raise invalid(
            "`pattern` block:AxB[:pooling] has sizes of at least 1 and pooling 'avg' or 'max'.",
            did_you_mean(pooling, POOLINGS),
            pattern=text,
        )
    return PatternSpec("block", block=block, pooling=pooling)
