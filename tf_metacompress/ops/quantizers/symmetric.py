"""The symmetric integer grid, over all weights or clipped."""

from collections.abc import Sequence

import tensorflow as tf

from tf_metacompress.ops.quantization import fake_quantize_symmetric, symmetric_scale
from tf_metacompress.ops.quantizers.clipping import range_clip
from tf_metacompress.ops.quantizers.registry import Grid, Quantizer
from tf_metacompress.ops.straight_through import straight_through_within


def fake_quantize_clipped(
    kernel: tf.Tensor, clip: tf.Tensor, num_bits: int, channel_axis: Sequence[int] = ()
) -> tf.Tensor:
    """Puts weights on a symmetric grid whose range ends below the largest weight.

    The step is `clip · max|w| / (2^(num_bits − 1) − 1)`; weights beyond the last integer saturate
    there and get no gradient. As the largest weight of a channel always lies on the last integer,
    the min-max grid of the result is the same.

    Args:
        kernel: Weights, any shape, floating.
        clip: Share of the largest weight at which the range ends, in (0, 1], broadcastable.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a scale of their own.

    Returns:
        Weights of the same shape and dtype on the grid.

    Example:
        >>> fake_quantize_clipped(tf.constant([12.0, 2.6, 0.0]), 0.5, 3).numpy().tolist()
        [6.0, 2.0, 0.0]
    """
    levels = 2 ** (num_bits - 1) - 1
    scale = symmetric_scale(kernel, num_bits, channel_axis) * tf.cast(clip, kernel.dtype)
    integers = tf.round(kernel / scale)
    saturated = tf.clip_by_value(integers, -levels, levels)
    return straight_through_within(kernel, saturated * scale, tf.equal(saturated, integers))


def _fake_quantize(kernel: tf.Tensor, grid: Grid, state: tf.Tensor | None) -> tf.Tensor:
    if state is None:
        return fake_quantize_symmetric(kernel, grid.num_bits, grid.channel_axis)
    return fake_quantize_clipped(kernel, state, grid.num_bits, grid.channel_axis)


def _make_state(kernel: tf.Tensor, grid: Grid) -> tf.Tensor | None:
    if grid.range_setting == "min_max":
        return None
    return range_clip(kernel, grid.num_bits, grid.channel_axis, grid.range_setting)


QUANTIZER = Quantizer(name="symmetric", fake_quantize=_fake_quantize, make_state=_make_state)
