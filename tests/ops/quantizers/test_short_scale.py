"""Scales of four binary digits against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.ops import fake_quantize_short_scale, get_quantizer
from tf_metacompress.ops.quantizers.short_scale import short_scale
from tf_metacompress.policy import LayerPlan
from tf_metacompress.wrappers.kernel_state import KernelState

KERNEL = np.random.default_rng(0).standard_t(3, size=(3, 3, 4, 60))
KERNEL = (KERNEL * np.exp(np.random.default_rng(1).normal(size=60) * 6)).astype("float32")
few = settings(max_examples=10, deadline=None)


def rounded_down(scale):
    """The largest number of four binary digits that is not above a scale."""
    octave = 2.0 ** (np.floor(np.log2(scale)) - 3)
    return np.floor(scale / octave) * octave


def whole_digits(scale):
    fraction, _ = np.frexp(scale)
    return fraction * 16


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("axis", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_and_integers_equal_numpy(bits, axis, dtype):
    kernel, levels = KERNEL.astype(dtype), 2 ** (bits - 1) - 1
    rest = tuple(set(range(4)) - set(axis))
    expected = rounded_down(np.abs(kernel.astype("float64")).max(rest, keepdims=True) / levels)
    scale = short_scale(tf.constant(kernel), bits, axis).numpy()
    np.testing.assert_array_equal(scale, expected)
    values = fake_quantize_short_scale(tf.constant(kernel), bits, axis).numpy()
    integers = np.clip(np.round(kernel.astype("float64") / expected), -levels, levels)
    np.testing.assert_array_equal(values, integers * expected)
    assert np.abs(integers).max(rest).min() == levels


@few
@given(st.floats(1e-30, 1e30), st.integers(2, 8), st.integers(0, 2**31))
def test_any_kernel_keeps_its_grid_when_quantised_again(size, bits, seed):
    kernel = np.random.default_rng(seed).normal(size=(20, 3)) * size
    once = fake_quantize_short_scale(tf.constant(kernel, "float32"), bits, (1,))
    again = fake_quantize_short_scale(once, bits, (1,))
    np.testing.assert_array_equal(once, again)
    nudged = once * np.float32(1 - 2e-7)
    scales = [short_scale(kernel, bits, (1,)).numpy() for kernel in (once, nudged)]
    np.testing.assert_array_equal(*scales)
    whole = whole_digits(scales[0])
    np.testing.assert_array_equal(whole, np.round(whole))


def test_saturated_weights_have_a_gradient_too():
    kernel = tf.constant([7.9, -7.9, 0.3])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        values = fake_quantize_short_scale(kernel, 4)
    assert np.abs(values).max() < 7.9
    np.testing.assert_array_equal(tape.gradient(values, kernel), np.ones(3))


def test_zeros_and_numbers_too_small_for_a_scale_stay_finite():
    kernel = tf.constant([[0.0, 1e-44], [0.0, -1e-44]])
    np.testing.assert_array_equal(fake_quantize_short_scale(kernel, 4, (1,)), np.zeros((2, 2)))


def test_the_kernel_as_deployed_has_the_short_scales():
    layer = tf.keras.layers.Layer()
    plan = LayerPlan("it", weight_bits=4, quantizer="short_scale")
    kernel = tf.constant(KERNEL)
    state = KernelState(layer, "kernel", plan, (3,), kernel)
    gain = np.random.default_rng(2).uniform(-2, 2, (1, 1, 1, 60)).astype("float32")
    gain[..., 0] = 0.0
    values = state.compressed(kernel, tf.constant(gain)).numpy()
    folded = np.abs(values.astype("float64") * gain)[..., 1:]
    whole = whole_digits(folded.max((0, 1, 2)) / 7)
    np.testing.assert_allclose(whole, np.round(whole), rtol=3e-7)
    plain = get_quantizer("short_scale").fake_quantize(kernel, state.grid, None).numpy()
    np.testing.assert_array_equal(values[..., 0], plain[..., 0])
    assert np.any(values[..., 1:] != plain[..., 1:])
    half = np.abs(KERNEL).max((0, 1, 2)) / 7
    assert np.all(np.abs(values - KERNEL).max((0, 1, 2)) <= half * 7 / 8.9)
