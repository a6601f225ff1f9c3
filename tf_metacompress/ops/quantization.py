"""Fake quantisation on the grids that LiteRT executes: real = (q − zero_point) · scale."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.ops.straight_through import straight_through

NUM_BITS = range(2, 17)
"""Widths of the integers that a grid may have."""


def symmetric_scale(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    narrow_range: bool = True,
) -> tf.Tensor:
    """Scale of the symmetric grid: `max|w| / (2^(num_bits − 1) − 1)`.

    The same rule as ai-edge-quantizer's min-max recipe, so weights put on this grid are exported
    without a further error. A channel of zeros gets scale 1.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a scale of their own; empty for one scale per tensor.
        narrow_range: Whether the lowest integer, −2^(num_bits − 1), is left out, as LiteRT needs.

    Returns:
        Positive scales, of the rank of `kernel`, size one on every other axis.

    Raises:
        InvalidArgumentError: If `num_bits` is outside 2 to 16.

    Example:
        >>> symmetric_scale(tf.constant([[254.0, -127.0]]), 8, (1,)).numpy().tolist()
        [[2.0, 1.0]]
    """
    check_choice("num_bits", num_bits, NUM_BITS)
    axes = [axis for axis in range(kernel.shape.rank) if axis not in tuple(channel_axis)]
    levels = 2 ** (num_bits - 1) - 1
    if narrow_range:
        scale = tf.reduce_max(tf.abs(kernel), axis=axes, keepdims=True) / levels
    else:
        highest = tf.reduce_max(kernel, axis=axes, keepdims=True) / levels
        lowest = tf.reduce_max(-kernel, axis=axes, keepdims=True) / (levels + 1)
        scale = tf.maximum(highest, lowest)
    return _positive(scale)


def _positive(scale: tf.Tensor) -> tf.Tensor:
    return tf.where(scale > 0, scale, tf.ones_like(scale))


def quantize_symmetric(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    narrow_range: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounds weights to the integers that the exported file stores.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a scale of their own.
        narrow_range: Whether the lowest integer is left out.

    Returns:
        `(integers, scale)`: whole numbers in the dtype of `kernel`, within ±(2^(num_bits − 1) − 1),
        or one lower without `narrow_range`, and the scale as in `symmetric_scale`. A zero weight
        has integer zero.

    Example:
        >>> integers, _ = quantize_symmetric(tf.constant([1.27, -0.314, 0.0]), 8)
        >>> integers.numpy().tolist()
        [127.0, -31.0, 0.0]
    """
    scale = symmetric_scale(kernel, num_bits, channel_axis, narrow_range)
    return tf.round(kernel / scale), scale


def fake_quantize_symmetric(
    kernel: tf.Tensor,
    num_bits: int,
    channel_axis: Sequence[int] = (),
    narrow_range: bool = True,
) -> tf.Tensor:
    """Puts weights on the symmetric grid, with a straight-through gradient.

    The grid spans the largest weight, so nothing is clipped and the gradient is one everywhere; the
    scale is treated as a constant. Zeros stay zeros.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of a weight, 2 to 16.
        channel_axis: Axes that keep a scale of their own.
        narrow_range: Whether the lowest integer is left out.

    Returns:
        Weights of the same shape and dtype on the grid.

    Example:
        >>> fake_quantize_symmetric(tf.constant([7.0, 2.6, 0.0]), 4).numpy().tolist()
        [7.0, 3.0, 0.0]
    """
    integers, scale = quantize_symmetric(kernel, num_bits, channel_axis, narrow_range)
    return straight_through(kernel, integers * scale)


def fake_quantize_weights(
    kernel: tf.Tensor, weight_bits: int, channel_axis: Sequence[int] = ()
) -> tf.Tensor:
    """Rounds weights to what a layer of `weight_bits` stores, with a straight-through gradient.

    Args:
        kernel: Weights, any shape, float32.
        weight_bits: 2 to 8 for the symmetric integer grid, 16 for float16, 32 for no change.
        channel_axis: Axes that keep a scale of their own.

    Returns:
        Weights of the same shape and dtype.

    Example:
        >>> fake_quantize_weights(tf.constant([1.0 + 2**-13]), 16).numpy().tolist()
        [1.0]
    """
    if weight_bits in _FLOATING:
        return _fake_float(kernel, weight_bits)
    return fake_quantize_symmetric(kernel, weight_bits, channel_axis)


def fake_quantize_groups(
    weights: tf.Tensor, weight_bits: int, group_of: tf.Tensor, num_groups: int
) -> tf.Tensor:
    """Does what `fake_quantize_weights` does to the channels of many kernels laid out in one row.

    Args:
        weights: Shape (weights,), floating.
        weight_bits: 2 to 8 for the symmetric integer grid, 16 for float16, 32 for no change.
        group_of: Number of the group whose scale each weight has, int32 (weights,).
        num_groups: How many groups there are.

    Returns:
        Weights of the same shape and dtype.

    Example:
        >>> weights, group_of = tf.constant([7.0, 2.6, 70.0, 26.0]), tf.constant([0, 0, 1, 1])
        >>> fake_quantize_groups(weights, 4, group_of, 2).numpy().tolist()
        [7.0, 3.0, 70.0, 30.0]
    """
    if weight_bits in _FLOATING:
        return _fake_float(weights, weight_bits)
    check_choice("weight_bits", weight_bits, NUM_BITS)
    largest = tf.math.unsorted_segment_max(tf.abs(weights), group_of, num_groups)
    scale = tf.gather(_positive(largest / (2 ** (weight_bits - 1) - 1)), group_of)
    return straight_through(weights, tf.round(weights / scale) * scale)


_FLOATING = (16, 32)


def _fake_float(weights: tf.Tensor, weight_bits: int) -> tf.Tensor:
    if weight_bits == 32:
        return weights
    return straight_through(weights, tf.cast(tf.cast(weights, tf.float16), weights.dtype))


def fake_quantize_affine(
    x: tf.Tensor, range_min: tf.Tensor | float, range_max: tf.Tensor, num_bits: int = 8
) -> tf.Tensor:
    """Puts activations on an asymmetric grid over a range, with a straight-through gradient.

    The range is widened to contain zero and nudged so that zero is a grid point. The gradient is
    one inside the range and zero where a value was clipped. With `range_min=0.0` this computes a
    ReLU as well.

    Paper: Jacob et al. 2018, arXiv:1712.05877.

    Args:
        x: Activations, any shape, floating.
        range_min: Scalar, smallest value to represent.
        range_max: Scalar, largest value to represent.
        num_bits: Bits of an activation, 2 to 16.

    Returns:
        Activations of the same shape and dtype on the grid.

    Example:
        >>> x = tf.constant([-10.0, 99.7, 300.0])
        >>> fake_quantize_affine(x, 0.0, 255.0).numpy().tolist()
        [0.0, 100.0, 255.0]
    """
    check_choice("num_bits", num_bits, NUM_BITS)
    low = tf.minimum(tf.cast(range_min, x.dtype), 0.0)
    high = tf.maximum(tf.cast(range_max, x.dtype), 0.0)
    steps = float(2**num_bits - 1)
    scale = (high - low) / steps
    scale = _positive(scale)
    low = -tf.round(-low / scale) * scale
    high = low + steps * scale
    return _round_within(num_bits)(x, tf.stop_gradient(low), tf.stop_gradient(high))


_GradientFunction = Callable[[tf.Tensor], tuple[tf.Tensor | None, ...]]
_JUST_BELOW_SIX = 6.0 * (1.0 - 2.0**-20)


def _round_within(num_bits: int) -> Callable[..., tf.Tensor]:
    """Rounds to the grid between two of its points: one pass forward, two passes back.

    The pass back is that of ReLU6, onto whose interval the range is mapped. It is linear in what
    comes in and TensorFlow knows its derivative, so second-order gradients are exact.
    """

    @tf.custom_gradient
    def rounded(
        x: tf.Tensor, low: tf.Tensor, high: tf.Tensor
    ) -> tuple[tf.Tensor, _GradientFunction]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            features = (x - low) * (_JUST_BELOW_SIX / (high - low))
            return tf.raw_ops.Relu6Grad(gradients=upstream, features=features), None, None

        if x.dtype == tf.float32:
            return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits), gradient
        scale = (high - low) / float(2**num_bits - 1)
        return tf.round((tf.clip_by_value(x, low, high) - low) / scale) * scale + low, gradient

    return rounded
