"""Weight clustering: few shared values, found by k-means, of which one is zero."""

from collections.abc import Sequence

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.ops.quantizers.registry import Grid, Quantizer
from tf_metacompress.ops.quantizers.rows import from_rows, to_rows
from tf_metacompress.ops.straight_through import straight_through

_BITS = range(2, 9)
_LLOYD_STEPS = 15
_INT8_LEVELS = 127


def make_codebook(
    kernel: tf.Tensor, num_bits: int, channel_axis: Sequence[int] = (), steps: int = _LLOYD_STEPS
) -> tf.Tensor:
    """Clusters weights into 2^num_bits shared values by k-means, without chance.

    Starts from evenly spaced values, which keeps the few large weights best (Deep Compression), the
    one nearest to zero moved there for good; zeros have no say in the other values.

    Paper: Han, Mao, Dally, "Deep Compression", 2016, arXiv:1510.00149.

    Args:
        kernel: Weights, any shape, floating.
        num_bits: Bits of the index of a value, 2 to 8.
        channel_axis: Axes that keep a codebook of their own; empty for one per tensor.
        steps: Lloyd steps.

    Returns:
        The values in ascending order, one of them zero: shape (codebooks, 2^num_bits).

    Raises:
        InvalidArgumentError: If `num_bits` is outside 2 to 8.

    Example:
        >>> kernel = tf.constant([-1.0, -2.0, 0.0, 1.5, 2.5, 4.0])
        >>> make_codebook(kernel, 2).numpy().tolist()
        [[-1.5, 0.0, 2.0, 4.0]]
    """
    check_choice("num_bits", num_bits, _BITS)
    rows = to_rows(tf.stop_gradient(kernel), channel_axis)
    low = tf.minimum(tf.reduce_min(rows, axis=1, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(rows, axis=1, keepdims=True), 0.0)
    places = tf.linspace(tf.zeros([], rows.dtype), tf.ones([], rows.dtype), 2**num_bits)
    values = low + (high - low) * places
    middle = tf.argmin(tf.abs(values), axis=1, output_type=tf.int32)
    nearest = tf.equal(tf.range(2**num_bits)[None], middle[:, None])
    values = tf.where(nearest, tf.zeros_like(values), values)
    for _ in range(steps):
        values = _lloyd_step(rows, values)
    return values


def _assign(rows: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Index of the nearest value of each weight, the lower of two equally near."""
    borders = (values[:, 1:] + values[:, :-1]) / 2.0
    return tf.searchsorted(borders, rows)


def _lloyd_step(rows: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Moves each value to the mean of its weights; zero, and values without weights, stay."""
    return _means(rows, values, _assign(rows, values))


def _means(rows: tf.Tensor, values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    books, size = values.shape
    segments = tf.reshape(index + size * tf.range(books)[:, None], [-1])
    # Bins are summed by several threads in any order; in float64 that cannot be seen.
    flat = tf.cast(tf.reshape(rows, [-1]), tf.float64)
    sums = _binned(segments, flat, books * size)
    counts = _binned(segments, tf.ones_like(flat), books * size)
    means = tf.reshape(tf.cast(tf.math.divide_no_nan(sums, counts), rows.dtype), [books, size])
    stays = tf.logical_or(tf.equal(values, 0), tf.equal(tf.reshape(counts, [books, size]), 0))
    return tf.where(stays, values, means)


def _binned(segments: tf.Tensor, weights: tf.Tensor, count: int) -> tf.Tensor:
    return tf.math.bincount(segments, weights=weights, minlength=count, maxlength=count)


def _on_int8_grid(values: tf.Tensor) -> tf.Tensor:
    """Rounds the values of each codebook to 1/127 of the largest, as an int8 file stores them."""
    scale = tf.reduce_max(tf.abs(values), axis=1, keepdims=True) / _INT8_LEVELS
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    return tf.round(values / scale) * scale


def fake_quantize_codebook(
    kernel: tf.Tensor, codebook: tf.Tensor, channel_axis: Sequence[int] = ()
) -> tf.Tensor:
    """Replaces weights by the mean of the cluster they belong to, with a straight-through gradient.

    Clusters are told apart by `codebook`; their means are taken from the present weights, so the
    shared values follow training between two codebooks, and rounded to the int8 grid of the
    codebook, so that an int8 file stores them exactly.

    Args:
        kernel: Weights, any shape, floating.
        codebook: What `make_codebook` gave for this or an earlier state of the kernel.
        channel_axis: Axes that keep a codebook of their own.

    Returns:
        Weights of the same shape and dtype. Zeros stay zeros.

    Example:
        >>> kernel = tf.constant([-64.0, -64.0, 0.0, 31.0, 33.0, 127.0])
        >>> fake_quantize_codebook(kernel, make_codebook(kernel, 2)).numpy().tolist()
        [-64.0, -64.0, 0.0, 32.0, 32.0, 127.0]
    """
    rows, values = to_rows(tf.stop_gradient(kernel), channel_axis), tf.cast(codebook, kernel.dtype)
    index = _assign(rows, values)
    shared = _on_int8_grid(_means(rows, values, index))
    clustered = from_rows(tf.gather(shared, index, batch_dims=1), kernel.shape, channel_axis)
    return straight_through(kernel, clustered)


def _fake_quantize(kernel: tf.Tensor, grid: Grid, state: tf.Tensor | None) -> tf.Tensor:
    return fake_quantize_codebook(kernel, state, grid.channel_axis)


def _make_state(kernel: tf.Tensor, grid: Grid) -> tf.Tensor:
    return make_codebook(kernel, grid.num_bits, grid.channel_axis)


QUANTIZER = Quantizer(name="codebook", fake_quantize=_fake_quantize, make_state=_make_state)
