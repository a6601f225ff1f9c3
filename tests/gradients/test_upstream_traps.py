"""What TensorFlow gets wrong at present; a failure here means that it was mended.

Then the layer can leave the list in `meta/second_order.py`, or the workaround can go.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.ops import fake_quantize_affine

layers = keras.layers
MENDED = "TensorFlow has mended this: {}"


def curvature(function, x, v):
    """What TensorFlow takes vᵀHv to be, and what differences of its first gradient say."""

    def gradient(at):
        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return tape.gradient(value, at)

    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = tf.reduce_sum(gradient(x) * v)
    found = tape.gradient(slope, x)
    step = 1e-5 if x.dtype == tf.float64 else 1e-2
    change = tf.reduce_sum((gradient(x + step * v) - gradient(x - step * v)) * v) / (2.0 * step)
    return 0.0 if found is None else float(tf.reduce_sum(found * v)), float(change)


def random(shape, seed=0, dtype="float64"):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def cubes(layer, **arguments):
    return lambda x: tf.reduce_sum(layer(x, **arguments) ** 3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (layers.LayerNormalization, {}),
        (lambda: layers.GroupNormalization(2), {}),
        (layers.BatchNormalization, {"training": True}),
    ],
)
def test_normalisation_by_moments_has_a_wrong_second_derivative(make, arguments):
    layer = make()
    x, v = random((4, 3, 3, 4)), random((4, 3, 3, 4), 1)
    layer(x)
    found, right = curvature(cubes(layer, **arguments), x, v)
    assert abs(found - right) > 1e-3 * abs(right), MENDED.format(type(layer).__name__)


@pytest.mark.usefixtures("float64")
def test_batch_normalization_on_moving_statistics_is_right():
    layer = layers.BatchNormalization()
    x, v = random((4, 3, 3, 4)), random((4, 3, 3, 4), 1)
    layer(x)
    found, right = curvature(cubes(layer, training=False), x, v)
    assert found == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize(
    "quantize",
    [
        lambda x: tf.quantization.fake_quant_with_min_max_args(x, -3.0, 3.0),
        lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -3.0, 3.0),
        lambda x: tf.quantization.fake_quant_with_min_max_vars_per_channel(x, [-3.0], [3.0]),
    ],
    ids=["args", "vars", "per_channel"],
)
def test_fake_quantisation_has_no_second_derivative(quantize):
    """Through it, MAML is first-order MAML without a word."""

    def passed(x):
        return tf.reduce_sum(quantize(x) ** 3)

    x = tf.constant([0.5, 1.0, 1.5])
    x = tf.reshape(x, (3, 1))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = passed(x)
        slope = inner.gradient(value, x)
    second = outer.gradient(slope, x)
    # d/dx 3 q² · 1 is 6 q where the straight-through derivative is one.
    np.testing.assert_allclose(slope, 3.0 * quantize(x) ** 2, rtol=1e-5)
    got = np.zeros((3, 1)) if second is None else np.asarray(second)
    straight_through = 6.0 * np.asarray(quantize(x))
    assert not np.allclose(got, straight_through, rtol=1e-3), MENDED.format("fake_quant")


def test_quantize_and_dequantize_refuses_a_second_derivative():
    x = tf.constant([0.5, 1.0])
    with pytest.raises(TypeError, match="QuantizeAndDequantize"), tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.quantization.quantize_and_dequantize_v2(x, -3.0, 3.0, range_given=True)
            value = tf.reduce_sum(y**3)
        outer.gradient(inner.gradient(value, x), x)


def test_a_bilinear_resize_has_no_second_derivative():
    def resized(x):
        return tf.reduce_sum(tf.image.resize(x, (6, 6)) ** 3)

    x, v = random((1, 3, 3, 1), 0, "float32"), random((1, 3, 3, 1), 1, "float32")
    found, right = curvature(resized, x, v)
    assert abs(found - right) > 1e-3 * abs(right), MENDED.format("the bilinear resize")


def test_softsign_has_no_second_derivative():
    with pytest.raises(LookupError, match="Softsign"):
        curvature(lambda x: tf.reduce_sum(tf.nn.softsign(x)), random((3,)), random((3,), 1))


def test_the_second_derivative_of_rounding_under_a_condition_cannot_be_built():
    """Why `ActivationRange` computes both sides and picks with `tf.where`."""

    @tf.function
    def curved(x, high):
        def passed(at):
            return tf.cond(high > 0.0, lambda: fake_quantize_affine(at, 0.0, high), lambda: at)

        return curvature_in_graph(passed, x)

    with pytest.raises(AssertionError):
        curved(tf.constant([0.5, 1.0]), tf.constant(2.0))


def curvature_in_graph(passed, x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = tf.reduce_sum(passed(x) ** 3)
        slope = inner.gradient(value, x)
    return outer.gradient(slope, x)
