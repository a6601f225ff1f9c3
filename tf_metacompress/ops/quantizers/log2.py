"""Powers of two: a product becomes a shift."""

from collections.abc import Sequence

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.ops.quantizers.registry import Grid, Quantizer
from tf_metacompress.ops.straight_through import straight_through

_BITS = range(2, 9)
_LAYOUTS = {
    "float32": (tf.int32, 1 << 22, 0x7F800000),
    "float64": (tf.int64, 1 << 51, 0x7FF0000000000000),
}
"""By dtype: the integer of that width, half a power of two in it, and the bits of the exponent."""


def _nearest_power(magnitudes: tf.Tensor) -> tf.Tensor:
    """The power of two nearest to each number, the larger of two equally near; zero for zero.

    Adding half to the mantissa carries into the exponent exactly where rounding up is right, which
    a rounded logarithm gets wrong near the borders.
    """
    integer, half, exponent = _LAYOUTS[magnitudes.dtype.name]
    bits = tf.bitcast(magnitudes, integer) + tf.constant(half, integer)
    return tf.bitcast(
        tf.bitwise.bitwise_and(bits, tf.constant(exponent, integer)), magnitudes.dtype
    )


def quantize_log2(
    kernel: tf.Tensor, num_bits: int, channel_axis: Sequence[int] = ()
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounds weights to sign · 2^k or zero: the nearest of 2^num_bits − 1 values.

    The largest is the power of two nearest to the largest weight, the smallest 2^(num_bits − 1) − 2
    octaves below. With up to 4 bits the integers are at most 64, so an int8 file stores them.

    Paper: Zhou, Yao, Guo, Xu, Chen, "Incremental Network Quantization", 2017, arXiv:1702.03044;
    Miyashita, Lee, Murmann 2016, arXiv:1603.01025.

    Args:
        kernel: Weights, any shape, float32 or float64.
        num_bits: Bits of a weight, 2 to 8.
        channel_axis: Axes that keep a range of their own.

    Returns:
        `(integers, scale)`: zero or ± a power of two, at least one, and the smallest power of two
        of each channel; the weight is their product. A channel of zeros has scale 1.

    Raises:
        InvalidArgumentError: If `num_bits` is outside 2 to 8.

    Example:
        >>> integers, scale = quantize_log2(tf.constant([0.9, -0.3, 0.2, 0.01]), 3)
        >>> integers.numpy().tolist(), float(scale[0])
        ([4.0, -1.0, 1.0, 0.0], 0.25)
    """
    check_choice("num_bits", num_bits, _BITS)
    axes = [axis for axis in range(kernel.shape.rank) if axis not in tuple(channel_axis)]
    magnitudes = tf.abs(kernel)
    largest = _nearest_power(tf.reduce_max(magnitudes, axis=axes, keepdims=True))
    smallest = largest * 2.0 ** -(2 ** (num_bits - 1) - 2)
    tiny = tf.constant(2.0**-125, kernel.dtype)
    scale = tf.where(largest > 0, tf.maximum(smallest, tiny), tf.ones_like(largest))
    powers = tf.maximum(_nearest_power(magnitudes), scale)
    powers = tf.where(magnitudes * 2.0 >= scale, powers, tf.zeros_like(powers))
    return tf.sign(kernel) * powers / scale, scale


def fake_quantize_log2(
    kernel: tf.Tensor, num_bits: int, channel_axis: Sequence[int] = ()
) -> tf.Tensor:
    """Puts weights on powers of two, with a straight-through gradient.

    Args:
        kernel: Weights, any shape, float32 or float64.
        num_bits: Bits of a weight, 2 to 8.
        channel_axis: Axes that keep a range of their own.

    Returns:
        Weights of the same shape and dtype, each zero or ± a power of two. Zeros stay zeros.

    Example:
        >>> fake_quantize_log2(tf.constant([0.9, -0.3, 0.2, 0.01]), 4).numpy().tolist()
        [1.0, -0.25, 0.25, 0.015625]
    """
    integers, scale = quantize_log2(kernel, num_bits, channel_axis)
    return straight_through(kernel, integers * scale)


def _fake_quantize(kernel: tf.Tensor, grid: Grid, state: tf.Tensor | None) -> tf.Tensor:
    del state
    return fake_quantize_log2(kernel, grid.num_bits, grid.channel_axis)


QUANTIZER = Quantizer(name="log2", fake_quantize=_fake_quantize)
