"""Fake quantisation against NumPy, and against TensorFlow's own op for the forward value."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.ops import (
    fake_quantize_affine,
    fake_quantize_groups,
    fake_quantize_symmetric,
    fake_quantize_weights,
    folding_gain,
    quantize_symmetric,
    symmetric_scale,
)

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype("float32")
AXES = {"per tensor": (), "convolution": (3,), "depthwise": (2, 3), "transpose": (2,)}
BITS = range(2, 9)
axes = pytest.mark.parametrize("axis", AXES.values(), ids=AXES)


def numpy_grid(kernel, bits, axis):
    """Integers and scale, in float64, one channel at a time."""
    levels = 2 ** (bits - 1) - 1
    integers = np.zeros(kernel.shape)
    scales = np.ones([n if i in axis else 1 for i, n in enumerate(kernel.shape)])
    for index in np.ndindex(*scales.shape):
        channel = tuple(i if a in axis else slice(None) for a, i in enumerate(index))
        values = kernel[channel].astype(np.float64)
        largest = np.abs(values).max()
        scales[index] = largest / levels if largest > 0 else 1.0
        integers[channel] = np.round(values / scales[index])
    return integers, scales


def gradients(function, x):
    """First and second derivative of Σ sin(function(x)), both tapes watching x."""
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
            loss = tf.reduce_sum(tf.sin(y))
        first = inner.gradient(loss, x)
    return y.numpy(), first.numpy(), outer.gradient(first, x).numpy()


@pytest.mark.parametrize("bits", BITS)
@axes
def test_symmetric_grid_equals_numpy(bits, axis):
    integers, scale = quantize_symmetric(tf.constant(KERNEL), bits, axis)
    expected_integers, expected_scale = numpy_grid(KERNEL, bits, axis)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    np.testing.assert_array_equal(integers, expected_integers)
    assert np.abs(integers).max() == 2 ** (bits - 1) - 1
    fake = fake_quantize_symmetric(tf.constant(KERNEL), bits, axis)
    np.testing.assert_allclose(fake, expected_integers * expected_scale, rtol=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_the_full_range_has_one_more_negative_integer(bits):
    kernel = np.array([[-1.0, 0.5, 0.1], [0.3, -0.2, -1.0], [-0.7, 1.0, 0.4]], "float32")
    integers, scale = quantize_symmetric(tf.constant(kernel), bits, (0,), narrow_range=False)
    levels = 2 ** (bits - 1) - 1
    expected = [[max(row.max() / levels, -row.min() / (levels + 1))] for row in kernel]
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    assert integers.numpy().min() == -levels - 1 and integers.numpy().max() == levels
    fake = fake_quantize_symmetric(tf.constant(kernel), bits, (0,), narrow_range=False)
    np.testing.assert_array_equal(fake, integers * scale)


def test_a_channel_of_zeros_has_scale_one_and_stays_zero():
    kernel = KERNEL.copy()
    kernel[..., 2] = 0.0
    scale = symmetric_scale(tf.constant(kernel), 8, (3,)).numpy()
    assert scale[0, 0, 0, 2] == 1.0
    quantized = fake_quantize_symmetric(tf.constant(kernel), 8, (3,)).numpy()
    assert np.isfinite(quantized).all()
    assert not quantized[..., 2].any()
    other = np.arange(6) != 2
    intact = fake_quantize_symmetric(tf.constant(KERNEL), 8, (3,)).numpy()
    np.testing.assert_array_equal(quantized[..., other], intact[..., other])


@pytest.mark.parametrize("bits", [*BITS, 16, 32])
@axes
def test_zero_stays_zero(bits, axis):
    kernel = KERNEL * (np.random.default_rng(1).random(KERNEL.shape) > 0.7)
    quantized = fake_quantize_weights(tf.constant(kernel), bits, axis).numpy()
    assert np.all(quantized[kernel == 0] == 0)


@pytest.mark.parametrize("bits", [2, 4, 8])
@axes
def test_quantising_again_changes_nothing(bits, axis):
    once = fake_quantize_symmetric(tf.constant(KERNEL), bits, axis)
    np.testing.assert_allclose(fake_quantize_symmetric(once, bits, axis), once, rtol=3e-7, atol=0)


FLOATS = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)


@given(st.lists(FLOATS, min_size=1, max_size=8), st.sampled_from(BITS))
def test_any_finite_kernel_gives_whole_numbers_in_range(values, bits):
    integers, scale = quantize_symmetric(tf.constant(values, tf.float32), bits)
    assert np.all(scale > 0)
    assert np.all(integers == np.round(integers))
    assert np.abs(integers).max() <= 2 ** (bits - 1) - 1


def test_float16_and_float32_weights():
    expected = KERNEL.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(fake_quantize_weights(tf.constant(KERNEL), 16), expected)
    np.testing.assert_array_equal(fake_quantize_weights(tf.constant(KERNEL), 32), KERNEL)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_gradient_passes_straight_through(bits):
    y, first, second = gradients(lambda x: fake_quantize_weights(x, bits, (3,)), KERNEL)
    np.testing.assert_allclose(first, np.cos(y), atol=1e-6)
    np.testing.assert_allclose(second, -np.sin(y), atol=1e-6)
    assert np.abs(y - KERNEL).max() > 1e-4


@pytest.mark.parametrize("bits", [1, 0, 17, 33, 8.0, True])
def test_bits_out_of_range_are_an_error(bits):
    with pytest.raises(InvalidArgumentError, match="num_bits"):
        symmetric_scale(tf.constant([1.0]), bits)


RANGES = [(-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (0.5, 2.0), (-3.0, -1.0), (-0.013, 4.1), (0.0, 0.0)]


def numpy_affine(x, low, high, bits):
    """The runtime's rule: widen to hold zero, nudge so that zero is an integer, clip, round."""
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    scale = (high - low) / levels or 1.0
    zero_point = np.round(-low / scale)
    quantized = np.clip(np.round(x / scale) + zero_point, 0, levels)
    return (quantized - zero_point) * scale


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_affine_grid_equals_numpy(low, high, bits):
    x = np.random.default_rng(0).uniform(-5, 8, 997).astype("float32")
    scale = (max(high, 0) - min(low, 0)) / (2**bits - 1) or 1.0
    got = fake_quantize_affine(tf.constant(x), low, high, bits).numpy()
    difference = np.abs(got - numpy_affine(x.astype(np.float64), low, high, bits))
    tie = np.abs(np.abs(x / scale % 1.0) - 0.5) < 2e-3
    np.testing.assert_array_less(difference[~tie], 1e-5)
    np.testing.assert_array_less(difference, scale * 1.001 + 1e-5)
    assert tie.mean() < 0.2


@pytest.mark.parametrize(("low", "high"), RANGES[:3] + RANGES[5:6])
def test_affine_forward_equals_the_op_of_tensorflow(low, high):
    x = np.random.default_rng(0).uniform(-5, 8, 997).astype("float32")
    got = fake_quantize_affine(tf.constant(x), low, high)
    expected = tf.quantization.fake_quant_with_min_max_args(x, low, high)
    assert np.mean(np.abs(got - expected) < 1e-6) > 0.99
    np.testing.assert_allclose(got, expected, atol=(high - low) / 255 * 1.001)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_zero_is_a_point_of_the_affine_grid(low, high):
    assert float(fake_quantize_affine(tf.constant(0.0), low, high)) == 0.0


def test_the_gradient_of_the_affine_grid_is_cut_where_it_clips():
    x = np.array([-2.0, -0.9, -0.2, 0.0, 0.7, 2.9, 3.5], "float32")
    y, first, second = gradients(lambda x: fake_quantize_affine(x, -1.0, 3.0), x)
    inside = np.array([0, 1, 1, 1, 1, 1, 0], "float32")
    np.testing.assert_allclose(first, inside * np.cos(y), atol=1e-6)
    np.testing.assert_allclose(second, inside * -np.sin(y), atol=1e-6)


def test_the_range_gets_no_gradient():
    low, high = tf.constant(-1.0), tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch([low, high])
        y = tf.reduce_sum(fake_quantize_affine(tf.constant([-2.0, 0.3, 5.0]), low, high))
    assert tape.gradient(y, [low, high]) == [None, None]


def test_traced_calls_equal_eager_ones():
    kernel = tf.constant(KERNEL)
    for function in (
        lambda k: fake_quantize_weights(k, 4, (3,)),
        lambda k: fake_quantize_weights(k, 16),
        lambda k: fake_quantize_affine(k, -0.7, 1.9),
    ):
        # A graph divides by a constant as a product with its reciprocal: one ulp apart.
        np.testing.assert_allclose(tf.function(function)(kernel), function(kernel), rtol=3e-7)


FOLDS = {
    "Conv2D": ((3, 3, 4, 6), (3,), (6,)),
    "Dense": ((4, 6), (1,), (6,)),
    "DepthwiseConv2D": ((3, 3, 4, 2), (2, 3), (8,)),
    "Conv2DTranspose": ((3, 3, 6, 4), (2,), (6,)),
}


@pytest.mark.parametrize("with_gamma", [True, False])
@pytest.mark.parametrize("kind", FOLDS)
def test_folding_gain_equals_numpy(kind, with_gamma):
    shape, axis, channels = FOLDS[kind]
    generator = np.random.default_rng(0)
    gamma, variance = generator.normal(size=channels), generator.uniform(0.1, 2, channels)
    gain = folding_gain(
        tf.constant(gamma, tf.float32) if with_gamma else None,
        tf.constant(variance, tf.float32),
        1e-3,
        shape,
        axis,
    )
    per_channel = (gamma if with_gamma else 1.0) / np.sqrt(variance + 1e-3)
    kernel = generator.normal(size=shape)
    expected = kernel.copy()
    for number, index in enumerate(np.ndindex(*(shape[a] for a in axis))):
        at = [slice(None)] * len(shape)
        for a, i in zip(axis, index, strict=True):
            at[a] = i
        expected[tuple(at)] *= per_channel[number]
    np.testing.assert_allclose(kernel * gain.numpy(), expected, rtol=1e-5)


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_folding_and_the_per_channel_grid_commute(bits, seed):
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(2, 2, 3, 4)).astype("float32")
    gain = (2.0 ** generator.integers(-3, 4, 4) * generator.choice([-1.0, 1.0], 4)).astype(
        "float32"
    )
    before, _ = quantize_symmetric(tf.constant(kernel), bits, (3,))
    after, _ = quantize_symmetric(tf.constant(kernel * gain), bits, (3,))
    np.testing.assert_array_equal(after, before * np.sign(gain))


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_channels_in_a_row_are_rounded_as_those_of_a_kernel(bits):
    group_of = tf.constant(np.broadcast_to(np.arange(KERNEL.shape[3]), KERNEL.shape).ravel())
    expected = gradients(lambda x: fake_quantize_weights(x, bits, (3,)), KERNEL)
    found = gradients(
        lambda x: fake_quantize_groups(x, bits, group_of, KERNEL.shape[3]), KERNEL.ravel()
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours).ravel(), np.asarray(theirs).ravel())


def test_a_group_of_zeros_stays_zero_and_bits_are_checked():
    zeros, group_of = tf.zeros([3]), tf.zeros([3], tf.int32)
    assert not fake_quantize_groups(zeros, 8, group_of, 1).numpy().any()
    with pytest.raises(InvalidArgumentError, match="weight_bits=1"):
        fake_quantize_groups(zeros, 1, group_of, 1)
