"""A kernel as rows, one for each grid: a channel, or the whole tensor."""

import math
from collections.abc import Sequence

import tensorflow as tf


def _order(rank: int, channel_axis: Sequence[int]) -> list[int]:
    axes = list(channel_axis)
    return axes + [axis for axis in range(rank) if axis not in axes]


def to_rows(kernel: tf.Tensor, channel_axis: Sequence[int]) -> tf.Tensor:
    """Moves each channel into a row.

    Args:
        kernel: Any static shape.
        channel_axis: Axes that tell rows apart; empty for a single row.

    Returns:
        Shape (rows, weights of each).
    """
    count = math.prod(kernel.shape[axis] for axis in channel_axis)
    return tf.reshape(tf.transpose(kernel, _order(kernel.shape.rank, channel_axis)), [count, -1])


def from_rows(rows: tf.Tensor, shape: Sequence[int], channel_axis: Sequence[int]) -> tf.Tensor:
    """Undoes `to_rows`.

    Args:
        rows: What `to_rows` gave.
        shape: Shape of the kernel.
        channel_axis: Axes that tell rows apart.

    Returns:
        Tensor of that shape.
    """
    order = _order(len(shape), channel_axis)
    moved = tf.reshape(rows, [shape[axis] for axis in order])
    return tf.transpose(moved, [order.index(axis) for axis in range(len(shape))])
