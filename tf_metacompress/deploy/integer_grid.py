"""Which weights are whole multiples of one step, so that integers hold them without loss.

A layer trained with `weight_bits=b` has at most 2^(b−1) − 1 levels on each side of zero in every
channel, times one scale. Where that scale comes from makes no difference to a file that stores one
scale a channel: grids of 2 to 8 bits, one scale for the whole tensor, clipped ranges, asymmetric
grids whose zero is a level, and powers of two are all whole multiples of a step. They are
recognised by one question: how many steps make the largest weight of a channel?
"""

import numpy as np

MAX_LEVEL = 127
"""Largest level that a stored weight may have; LiteRT's int8 weights lie within ±127."""

_LARGEST_SOUGHT = 255
_PROBE = 24
_ROUNDING = 1e-6


def channel_levels(kernel: np.ndarray, axis: int = 0) -> np.ndarray:
    """Counts, for each channel, the steps from zero to its largest weight on its coarsest grid.

    Every weight of the channel is a whole multiple of `largest weight / level`, to the rounding of
    float32 (a factor of 1e-6).

    Args:
        kernel: Weights.
        axis: Axis of the output channels.

    Returns:
        Int array with one level a channel: 1 to 255, 1 for a channel of zeros, and 0 where no grid
        of at most 255 levels fits. A file can store those up to `MAX_LEVEL`.

    Example:
        >>> channel_levels(np.array([[0.7, -0.3, 0.1], [0.4, -0.8, 0.2], [0.5, 0.1234, 0.2]]))
        array([7, 4, 0])
    """
    if not kernel.size:
        return np.zeros(kernel.shape[axis], int)
    rows = _magnitudes(kernel, axis)
    largest = rows.max(axis=1)
    ratios = rows / np.where(largest > 0, largest, 1.0)[:, None]
    probe = min(_PROBE, ratios.shape[1])
    first = np.partition(ratios, -probe, axis=1)[:, -probe:]
    levels = np.where(largest > 0, 0, 1)
    for level in range(1, _LARGEST_SOUGHT + 1):
        open_rows = np.flatnonzero(levels == 0)
        likely = open_rows[_are_whole(first[open_rows] * level)]
        levels[likely[_are_whole(ratios[likely] * level)]] = level
    return levels


def grid_bits(kernel: np.ndarray, axis: int = 0) -> int | None:
    """Gives the fewest bits of a symmetric integer grid that holds a kernel without loss.

    Args:
        kernel: Weights.
        axis: Axis of the output channels.

    Returns:
        2 to 9; 9 means more than `MAX_LEVEL` levels on one side, as an asymmetric 8-bit grid may
        have, which a file cannot store. None when no such grid fits, or when no channel has two
        weights that are not zero: then any grid fits, which says nothing.

    Example:
        >>> grid_bits(np.array([[0.7, -0.3, 0.0, 0.1]]))
        4
    """
    if not kernel.size or np.count_nonzero(_magnitudes(kernel, axis), axis=1).max() < 2:
        return None
    levels = channel_levels(kernel, axis)
    return None if levels.min() == 0 else int(levels.max()).bit_length() + 1


def _magnitudes(kernel: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).astype(np.float64))


def _are_whole(rows: np.ndarray) -> np.ndarray:
    return (np.abs(rows - np.round(rows)) <= _ROUNDING * rows).all(axis=1)
