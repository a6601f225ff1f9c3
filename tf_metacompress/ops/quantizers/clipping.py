"""Ranges smaller than the largest weight: finer steps for the many, saturation of the few."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.ops.quantization import symmetric_scale
from tf_metacompress.ops.quantizers.rows import from_rows, to_rows
from tf_metacompress.typing import RangeSetting

PERCENTILE = 99.9
"""Percentile of |w| at which the "percentile" range ends."""

MSE_CLIPS: tuple[float, ...] = tuple(float(clip) for clip in np.linspace(0.2, 1.0, 41))
"""Shares of the largest weight among which the "mse" range is chosen."""


def range_clip(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    range_setting: RangeSetting = "mse",
) -> tf.Tensor:
    """Chooses where the range of the symmetric grid ends, as a share of the largest weight.

    "percentile" takes the 99.9th percentile of |w|, "mse" the share among 0.20, 0.22, … 1.00 with
    the least squared rounding error (the largest of equals).

    Paper: Nagel et al., "A White Paper on Neural Network Quantization", 2021, arXiv:2106.08295.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a range of their own.
        range_setting: "min_max", "percentile" or "mse".

    Returns:
        Shares in (0, 1], of the rank of `kernel`, size one on every other axis; 1 for a channel of
        zeros.

    Raises:
        InvalidArgumentError: If `range_setting` is none of these.

    Example:
        >>> kernel = tf.constant([1.0, -0.5, 0.5, 0.5, 0.5, -0.5, 0.5, -0.5])
        >>> float(range_clip(kernel, 2)[0]) < 1.0
        True
    """
    check_choice("range_setting", range_setting, ("min_max", "percentile", "mse"))
    rows = tf.abs(to_rows(tf.stop_gradient(kernel), channel_axis))
    largest = tf.reduce_max(rows, axis=1, keepdims=True)
    if range_setting == "percentile":
        clip = _percentile(rows) / tf.where(largest > 0, largest, tf.ones_like(largest))
    elif range_setting == "mse":
        clip = _least_squares(rows, num_bits)
    else:
        clip = tf.ones_like(largest)
    clip = tf.where(clip > 0, clip, tf.ones_like(clip))
    shape = [n if axis in channel_axis else 1 for axis, n in enumerate(kernel.shape)]
    return from_rows(clip, shape, channel_axis)


def _percentile(magnitudes: tf.Tensor) -> tf.Tensor:
    """The percentile of each row, interpolated between neighbours."""
    position = (magnitudes.shape[1] - 1) * PERCENTILE / 100.0
    below = int(position)
    above = min(below + 1, magnitudes.shape[1] - 1)
    ordered = tf.sort(magnitudes, axis=1)
    low, high = ordered[:, below : below + 1], ordered[:, above : above + 1]
    return low + (high - low) * tf.cast(position - below, magnitudes.dtype)


def _least_squares(magnitudes: tf.Tensor, num_bits: int) -> tf.Tensor:
    """The clip of each row whose grid is nearest in squares."""
    scale, levels = symmetric_scale(magnitudes, num_bits, (0,)), 2 ** (num_bits - 1) - 1
    best = tf.ones_like(scale)
    least = tf.fill(tf.shape(scale), magnitudes.dtype.max)
    for clip in reversed(MSE_CLIPS):
        step = scale * tf.cast(clip, scale.dtype)
        rounded = tf.minimum(tf.round(magnitudes / step), levels) * step
        error = tf.reduce_sum(tf.square(rounded - magnitudes), axis=1, keepdims=True)
        best = tf.where(error < least, tf.cast(clip, best.dtype), best)
        least = tf.minimum(error, least)
    return best
