"""Weight quantisers against NumPy in float64, their derivatives against finite differences."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.ops import (
    Grid,
    Quantizer,
    fake_quantize_affine_weights,
    fake_quantize_clipped,
    fake_quantize_codebook,
    fake_quantize_log2,
    get_quantizer,
    make_codebook,
    quantize_affine,
    quantize_log2,
    range_clip,
    register_quantizer,
    symmetric_scale,
)
from tf_metacompress.policy import LayerPlan

few = settings(max_examples=25, deadline=None)
KERNEL = np.random.default_rng(0).standard_t(3, size=(3, 3, 4, 6)).astype("float32")
AXES = {"tensor": (), "convolution": (3,), "depthwise": (2, 3), "transpose": (2,)}
axes = pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
NAMES = ("symmetric", "affine", "log2", "codebook", "short_scale")
ARRAYS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.just(0.0),
)


def channels(kernel, axis):
    """The kernel as one row per channel."""
    order = [*axis, *(a for a in range(kernel.ndim) if a not in axis)]
    count = int(np.prod([kernel.shape[a] for a in axis], dtype=int))
    return np.transpose(kernel, order).reshape(count, -1)


def quantized(name, kernel, bits, axis=(), range_setting="min_max"):
    quantizer = get_quantizer(name)
    grid = Grid(num_bits=bits, channel_axis=axis, range_setting=range_setting)
    kernel = tf.constant(kernel)
    return quantizer.fake_quantize(kernel, grid, quantizer.make_state(kernel, grid)).numpy()


@axes
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("narrow", [False, True])
def test_affine_grid_equals_numpy(bits, axis, narrow):
    integers, scale, zero_point = quantize_affine(tf.constant(KERNEL), bits, axis, narrow)
    fake = fake_quantize_affine_weights(tf.constant(KERNEL), bits, axis, narrow).numpy()
    steps = 2**bits - 1 - narrow
    for row, whole, step, zero, values in zip(
        channels(KERNEL.astype(np.float64), axis),
        channels(integers.numpy(), axis),
        channels(scale.numpy(), axis),
        channels(zero_point.numpy(), axis),
        channels(fake, axis),
        strict=True,
    ):
        expected_scale = (max(row.max(), 0) - min(row.min(), 0)) / steps
        expected_zero = narrow + np.round(-min(row.min(), 0) / expected_scale)
        np.testing.assert_allclose(step, expected_scale, rtol=1e-6)
        assert zero == expected_zero
        expected = np.clip(
            np.round(row / expected_scale) + expected_zero, float(narrow), 2**bits - 1
        )
        tie = np.abs(np.abs(row / expected_scale % 1.0) - 0.5) < 1e-3
        np.testing.assert_array_equal(whole[~tie], expected[~tie])
        np.testing.assert_array_equal(values, (whole - zero) * step)


@axes
@pytest.mark.parametrize("bits", range(2, 9))
def test_log2_takes_the_nearest_power(bits, axis):
    integers, scale = quantize_log2(tf.constant(KERNEL), bits, axis)
    fake = fake_quantize_log2(tf.constant(KERNEL), bits, axis).numpy()
    for row, values in zip(channels(KERNEL, axis), channels(fake, axis), strict=True):
        row = row.astype(np.float64)
        largest = max(np.abs(row))
        exponents = np.arange(-60, 60)
        top = exponents[np.argmin(np.abs(2.0**exponents - largest))]
        powers = 2.0 ** (top - np.arange(min(2 ** (bits - 1) - 1, 60)))
        grid = np.concatenate([-powers, [0.0], powers])
        np.testing.assert_array_equal(
            np.abs(values - row), np.abs(grid[None] - row[:, None]).min(axis=1)
        )
        assert set(values) <= set(grid)
    np.testing.assert_array_equal(integers * scale, fake)
    if bits <= 4:
        assert np.abs(integers).max() <= 64


def test_ties_of_log2_go_to_the_larger_power():
    kernel = tf.constant([1.5, 3.0, -0.75, 0.125, 4.0])
    assert fake_quantize_log2(kernel, 3).numpy().tolist() == [2.0, 4.0, -1.0, 0.0, 4.0]
    assert fake_quantize_log2(kernel, 4).numpy().tolist() == [2.0, 4.0, -1.0, 0.125, 4.0]


def numpy_kmeans(row, bits, steps):
    low, high = min(row.min(), 0.0), max(row.max(), 0.0)
    values = low + (high - low) * np.linspace(0.0, 1.0, 2**bits)
    values[np.argmin(np.abs(values))] = 0.0
    for _ in range(steps):
        nearest = np.argmin(np.abs(row[:, None] - values[None]), axis=1)
        for index in range(len(values)):
            if values[index] != 0 and (nearest == index).any():
                values[index] = row[nearest == index].mean()
    return values


@axes
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("steps", [0, 1, 8])
def test_a_codebook_equals_k_means(bits, axis, steps):
    got = make_codebook(tf.constant(KERNEL), bits, axis, steps).numpy()
    rows = channels(KERNEL.astype(np.float64), axis)
    np.testing.assert_allclose(got, [numpy_kmeans(row, bits, steps) for row in rows], rtol=1e-4)
    assert np.all((got == 0).any(axis=1)) and np.all(np.diff(got, axis=1) >= 0)


@axes
def test_clustered_weights_are_the_means_of_their_clusters_on_the_int8_grid(axis):
    book = make_codebook(tf.constant(KERNEL), 3, axis)
    moved = (KERNEL + 0.05).astype("float32") * (KERNEL.max() != KERNEL)
    got = channels(fake_quantize_codebook(tf.constant(moved), book, axis).numpy(), axis)
    for row, values, shared in zip(channels(moved, axis), got, book.numpy(), strict=True):
        nearest = np.argmin(np.abs(row[:, None].astype(np.float64) - shared[None]), axis=1)
        means = [
            row[nearest == i].mean() if value and (nearest == i).any() else value
            for i, value in enumerate(shared)
        ]
        scale = np.abs(means).max() / 127
        np.testing.assert_allclose(values, np.round(means / scale)[nearest] * scale, atol=scale)
        assert np.abs(values / scale - np.round(values / scale)).max() < 1e-3
        assert len(set(values)) <= 8


@few
@given(ARRAYS, st.sampled_from(NAMES), st.integers(2, 8), st.booleans(), st.integers(0, 2**31))
def test_any_kernel_keeps_its_zeros_and_stays_finite(kernel, name, bits, per_channel, seed):
    kernel = kernel * (np.random.default_rng(seed).random(kernel.shape) > 0.4)
    axis = (kernel.ndim - 1,) if per_channel else ()
    values = quantized(name, kernel, bits, axis)
    assert np.isfinite(values).all() and values.shape == kernel.shape
    assert np.all(values[kernel == 0] == 0)
    for row in channels(values, axis):
        assert len(np.unique(row)) <= 2**bits


@few
@given(ARRAYS, st.sampled_from(["symmetric", "affine", "log2", "short_scale"]), st.integers(2, 8))
def test_quantised_weights_lie_on_whole_multiples_of_one_scale(kernel, name, bits):
    axis = (kernel.ndim - 1,)
    for row in channels(quantized(name, kernel, bits, axis), axis):
        nonzero = np.abs(row[row != 0]).astype(np.float64)
        if nonzero.size == 0 or (name == "log2" and bits > 4):
            continue
        candidates = nonzero.min() / np.arange(1, 256)
        off = [np.abs(nonzero / step - np.round(nonzero / step)).max() for step in candidates]
        assert min(off) < 1e-3


@few
@given(ARRAYS, st.integers(2, 8))
def test_the_worst_error_of_a_linear_grid_is_half_a_step(kernel, bits):
    for name in ("symmetric", "affine"):
        error = np.abs(quantized(name, kernel, bits).astype(np.float64) - kernel).max()
        low, high = min(kernel.min(), 0.0), max(kernel.max(), 0.0)
        step = max(high, -low) / (2 ** (bits - 1) - 1)
        if name == "affine":
            step = (float(high) - float(low)) / (2**bits - 1) * 2  # half a step of nudging
        assert error <= step * 0.5001


@axes
def test_the_percentile_range_ends_at_the_percentile(axis):
    clip = range_clip(tf.constant(KERNEL), 4, axis, "percentile").numpy()
    rows = np.abs(channels(KERNEL.astype(np.float64), axis))
    expected = np.percentile(rows, 99.9, axis=1) / rows.max(axis=1)
    np.testing.assert_allclose(channels(clip, axis)[:, 0], expected, rtol=1e-5)


@axes
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_mse_range_has_the_least_squared_error(bits, axis):
    clip = range_clip(tf.constant(KERNEL), bits, axis, "mse").numpy()
    for row, got in zip(
        channels(KERNEL.astype(np.float64), axis), channels(clip, axis), strict=True
    ):
        levels = 2 ** (bits - 1) - 1

        def error(share, row=row, levels=levels):
            step = share * np.abs(row).max() / levels
            return np.square(np.clip(np.round(row / step), -levels, levels) * step - row).sum()

        shares = np.linspace(0.2, 1.0, 41)
        assert error(got[0]) <= min(error(share) for share in shares) * (1 + 1e-4)
    plain, clipped = (
        quantized("symmetric", KERNEL, bits, axis, setting) for setting in ("min_max", "mse")
    )
    assert np.square(clipped - KERNEL).sum() <= np.square(plain - KERNEL).sum() * (1 + 1e-6)


@axes
@pytest.mark.parametrize("setting", ["percentile", "mse"])
def test_the_min_max_grid_of_a_clipped_kernel_is_the_clipped_grid(setting, axis):
    once = quantized("symmetric", KERNEL, 4, axis, setting)
    np.testing.assert_allclose(quantized("symmetric", once, 4, axis), once, rtol=3e-7)
    scale = symmetric_scale(tf.constant(once), 4, axis)
    whole = once / scale.numpy()
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-5)
    assert np.abs(np.round(whole)).max() == 7


def derivatives(function, x):
    """First and second derivative of Σ sin(function(x))."""
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(tf.sin(function(x)))
        first = inner.gradient(loss, x)
    return first.numpy(), outer.gradient(first, x).numpy()


@pytest.mark.parametrize(
    ("name", "bits", "setting"),
    [
        *itertools.product(NAMES, (3, 8), ("min_max",)),
        ("symmetric", 3, "mse"),
        ("symmetric", 4, "percentile"),
    ],
)
def test_derivatives_are_those_of_the_smooth_surrogate(name, bits, setting):
    """Rounding read as a shift: q(x) + (x − x₀) where nothing is clipped, a constant elsewhere."""
    kernel = KERNEL.astype(np.float64)
    quantizer, grid = get_quantizer(name), Grid(num_bits=bits, range_setting=setting)
    state = quantizer.make_state(tf.constant(kernel), grid)
    rounded = quantizer.fake_quantize(tf.constant(kernel), grid, state).numpy()
    first, second = derivatives(lambda x: quantizer.fake_quantize(x, grid, state), kernel)
    inside = first != 0
    assert inside.mean() > 0.9
    if setting != "min_max":
        limit = float(np.asarray(state).ravel()[0]) * np.abs(kernel).max()
        half = limit / (2 ** (bits - 1) - 1) / 2
        np.testing.assert_array_equal(inside, np.abs(kernel) < limit + half)
    step = 1e-3

    def surrogate(shift):
        return np.sin(rounded + inside * shift)

    expected_first = (surrogate(step) - surrogate(-step)) / (2 * step)
    expected_second = (surrogate(step) - 2 * surrogate(0.0) + surrogate(-step)) / step**2
    np.testing.assert_allclose(first, expected_first, atol=1e-6)
    np.testing.assert_allclose(second, expected_second, atol=1e-6)
    assert np.abs(second).max() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_traced_calls_equal_eager_ones(name):
    quantizer, grid = get_quantizer(name), Grid(num_bits=4, channel_axis=(3,))
    kernel = tf.constant(KERNEL)
    state = quantizer.make_state(kernel, grid)
    traced = tf.function(lambda k: quantizer.fake_quantize(k, grid, state))
    np.testing.assert_allclose(
        traced(kernel), quantizer.fake_quantize(kernel, grid, state), rtol=3e-7
    )


@pytest.mark.parametrize("bits", [1, 9, 4.0, True])
def test_bits_out_of_range_are_refused(bits):
    kernel = tf.constant(KERNEL)
    for function in (quantize_log2, make_codebook):
        with pytest.raises(InvalidArgumentError, match="num_bits"):
            function(kernel, bits)
    if bits != 9:
        with pytest.raises(InvalidArgumentError, match="num_bits"):
            quantize_affine(kernel, bits)


def test_unknown_names_are_refused():
    with pytest.raises(InvalidArgumentError, match="Did you mean 'codebook'"):
        get_quantizer("codebok")
    with pytest.raises(InvalidArgumentError, match="range_setting"):
        range_clip(tf.constant(KERNEL), 4, (), "max")


def test_a_new_quantiser_is_one_registration():
    register_quantizer(Quantizer(name="sign", fake_quantize=lambda w, grid, state: tf.sign(w)))
    np.testing.assert_array_equal(quantized("sign", KERNEL, 2), np.sign(KERNEL))
    assert LayerPlan("conv", weight_bits=2, quantizer="sign").quantizer == "sign"


def test_a_clip_of_one_is_the_plain_grid():
    plain = quantized("symmetric", KERNEL, 5, (3,))
    clipped = fake_quantize_clipped(tf.constant(KERNEL), tf.ones([]), 5, (3,))
    np.testing.assert_array_equal(clipped, plain)
