"""The asymmetric integer grid: all of the range is used, zero is a point of it."""

from collections.abc import Sequence

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.ops.quantization import NUM_BITS
from tf_metacompress.ops.quantizers.registry import Grid, Quantizer
from tf_metacompress.ops.straight_through import straight_through_within


def quantize_affine(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    narrow_range: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Rounds weights to the integers of an asymmetric grid: real = (q − zero_point) · scale.

    The range of the weights, widened to hold zero, is spread over 2^num_bits integers from 0, or
    with `narrow_range` over one less from 1. It is then shifted by less than a step so that zero is
    an integer; what falls beyond an end is clipped.

    Paper: Jacob et al. 2018, arXiv:1712.05877.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a grid of their own.
        narrow_range: Whether the lowest integer is left out.

    Returns:
        `(integers, scale, zero_point)`, the integers in the dtype and shape of `kernel`, the others
        of size one on every axis not in `channel_axis`.

    Raises:
        InvalidArgumentError: If `num_bits` is outside 2 to 16.

    Example:
        >>> integers, scale, zero = quantize_affine(tf.constant([-1.0, 0.0, 2.0]), 2)
        >>> integers.numpy().tolist(), float(scale[0]), float(zero[0])
        ([0.0, 1.0, 3.0], 1.0, 1.0)
    """
    check_choice("num_bits", num_bits, NUM_BITS)
    axes = [axis for axis in range(kernel.shape.rank) if axis not in tuple(channel_axis)]
    low = tf.minimum(tf.reduce_min(kernel, axis=axes, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(kernel, axis=axes, keepdims=True), 0.0)
    first, last = float(narrow_range), float(2**num_bits - 1)
    # Halved before they are subtracted, so that the difference cannot overflow.
    scale = (high / 2.0 - low / 2.0) / (last - first) * 2.0
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    zero_point = first + tf.round(-low / scale)
    integers = tf.clip_by_value(tf.round(kernel / scale) + zero_point, first, last)
    return integers, scale, zero_point


def fake_quantize_affine_weights(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    narrow_range: bool = False,
) -> tf.Tensor:
    """Puts weights on the asymmetric grid, with a straight-through gradient where none is clipped.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a grid of their own.
        narrow_range: Whether the lowest integer is left out.

    Returns:
        Weights of the same shape and dtype on the grid. Zeros stay zeros.

    Example:
        >>> fake_quantize_affine_weights(tf.constant([-1.0, 0.4, 2.0]), 2).numpy().tolist()
        [-1.0, 0.0, 2.0]
    """
    integers, scale, zero_point = quantize_affine(kernel, num_bits, channel_axis, narrow_range)
    inside = tf.equal(integers, tf.round(kernel / scale) + zero_point)
    return straight_through_within(kernel, (integers - zero_point) * scale, inside)


def _fake_quantize(kernel: tf.Tensor, grid: Grid, state: tf.Tensor | None) -> tf.Tensor:
    del state
    return fake_quantize_affine_weights(kernel, grid.num_bits, grid.channel_axis)


QUANTIZER = Quantizer(name="affine", fake_quantize=_fake_quantize)
