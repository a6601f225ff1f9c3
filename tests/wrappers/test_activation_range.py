"""The moving range of an activation, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.wrappers import ActivationRange, FreezeRanges


def batches(count=6, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(i, 1 + i, (4, 5)).astype("float32") for i in range(count)]


def bounds(layer):
    return float(layer.range_min.numpy()), float(layer.range_max.numpy())


def numpy_average(values, momentum):
    average = values[0]
    for value in values[1:]:
        average = momentum * average + (1 - momentum) * value
    return average


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("traced", [False, True])
def test_the_range_is_the_moving_average_of_the_batches(momentum, traced):
    layer = ActivationRange(momentum=momentum)
    call = tf.function(layer) if traced else layer
    data = batches()
    for x in data:
        call(x, training=True)
    expected = [numpy_average([f(x) for x in data], momentum) for f in (np.min, np.max)]
    np.testing.assert_allclose(bounds(layer), expected, rtol=1e-5)


def test_the_first_batch_sets_the_range():
    layer = ActivationRange(momentum=0.99)
    layer(np.array([[-3.0, 7.0]], "float32"), training=True)
    assert bounds(layer) == (-3.0, 7.0)


def test_a_training_batch_is_rounded_to_the_range_it_has_just_updated():
    layer = ActivationRange(num_bits=2)
    assert layer(np.array([0.0, 0.6, 1.4, 3.0], "float32"), training=True).numpy().tolist() == [
        0.0, 1.0, 1.0, 3.0,
    ]  # fmt: skip


def test_before_training_the_tensor_passes_unchanged():
    layer, x = ActivationRange(), batches()[1]
    np.testing.assert_array_equal(layer(x), x)
    assert bounds(layer) == (0.0, 0.0)


def test_inference_and_a_frozen_range_do_not_move_it():
    layer = ActivationRange()
    first, second, third = batches(3)
    layer(first, training=True)
    before = bounds(layer)
    layer(second)
    layer(second, training=False)
    layer.frozen.assign(1.0)
    layer(third, training=True)
    assert bounds(layer) == before
    layer.frozen.assign(0.0)
    layer(third, training=True)
    assert bounds(layer) != before


def test_a_frozen_range_still_learns_its_first_batch():
    layer = ActivationRange()
    layer.frozen.assign(1.0)
    layer(batches()[0], training=True)
    assert bounds(layer)[0] < 0 < bounds(layer)[1]


def test_the_result_has_at_most_as_many_values_as_the_bits_allow():
    layer = ActivationRange(num_bits=4)
    x = np.random.default_rng(0).normal(size=(1000,)).astype("float32")
    values = np.unique(layer(x, training=True))
    assert 8 < len(values) <= 16
    assert 0.0 in values
    steps = np.diff(values)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)


def test_the_gradient_passes_inside_the_range_only():
    layer = ActivationRange()
    layer(np.array([-1.0, 1.0], "float32"), training=True)
    x = tf.constant([-2.0, -0.5, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert tape.gradient(y, x).numpy().tolist() == [0.0, 1.0, 1.0, 0.0]


def test_half_precision_activations_keep_their_dtype_and_a_full_precision_range():
    layer = ActivationRange()
    y = layer(tf.constant([0.0, 1000.25], tf.float16), training=True)
    assert y.dtype == tf.float16
    layer(tf.constant([0.0, 1001.0], tf.float16), training=True)
    expected = 0.95 * float(np.float16(1000.25)) + 0.05 * 1001.0
    assert bounds(layer)[1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("arguments", [{"num_bits": 1}, {"num_bits": 17}, {"num_bits": True},
                                       {"momentum": 1.0}, {"momentum": -0.1}])  # fmt: skip
def test_arguments_out_of_range_are_errors(arguments):
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments))):
        ActivationRange(**arguments)


def frozen_epochs(epochs, after):
    layer = ActivationRange()
    callback = FreezeRanges([layer], after=after)
    callback.set_params({"epochs": epochs})
    callback.on_train_begin()
    frozen = []
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        frozen.append(float(layer.frozen.numpy()))
    return frozen


def test_ranges_freeze_after_a_fraction_of_the_epochs():
    assert frozen_epochs(5, 0.8) == [0, 0, 0, 0, 1]
    assert frozen_epochs(4, 0.5) == [0, 0, 1, 1]
    assert frozen_epochs(1, 0.0) == [0]
    with pytest.raises(InvalidArgumentError, match="after"):
        FreezeRanges([], after=1.0)


def test_a_second_training_starts_with_moving_ranges():
    layer = ActivationRange()
    layer.frozen.assign(1.0)
    FreezeRanges([layer]).on_train_begin()
    assert float(layer.frozen.numpy()) == 0.0
