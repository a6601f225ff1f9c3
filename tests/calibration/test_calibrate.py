"""Quantisation without training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import conv_net, dense_net, fingerprint, images, randomize, shared_net
from tf_metacompress import compress, finalize
from tf_metacompress.calibration import calibrate
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import Policy, Rule

layers = keras.layers
INT8 = Policy([Rule("*", weight_bits=8)])
COARSE = Policy([Rule("*", weight_bits=4, activation_bits=32)])


def results(model, paths, x):
    """What each layer gives on its way through the model, by a Functional model of its own."""
    found = leaf_layers(model)
    network = keras.Model(model.input, [found[path].output for path in paths])
    return tf.nest.flatten(network(x, training=False))


def test_ranges_are_those_of_the_float_results():
    model = conv_net()
    x, _ = images(70)
    student = compress(model, INT8)
    report = calibrate(student, x, bias_correction=False)
    assert report.num_samples == 70 and report.corrected == ()
    paths = ["relu1", "relu2", "relu3"]
    expected = results(finalize(student), paths, x)
    for path, values in zip(paths, expected, strict=True):
        low, high = report.ranges[path]
        assert low == float(np.min(values))
        assert high == pytest.approx(float(np.max(values)), rel=1e-4)


def test_a_calibrated_student_rounds_where_a_fresh_one_does_not():
    x, _ = images(32)
    student = compress(conv_net(), INT8)
    before = student(x).numpy()
    calibrate(student, x, bias_correction=False)
    after = student(x).numpy()
    assert 0 < np.abs(after - before).max() < 0.05


def mean_errors(model, student, x, path):
    plain = finalize(student)
    wanted = np.asarray(results(model, [path], x)[0])
    got = np.asarray(results(plain, [path], x)[0])
    return np.abs((got - wanted).mean(axis=tuple(range(got.ndim - 1))))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["bn1", "bn2", "bn3"])
def test_corrected_biases_bring_back_the_means_behind_batch_normalization(path):
    model = conv_net()
    x, _ = images(64)
    plain, corrected = compress(model, COARSE), compress(model, COARSE)
    report = calibrate(corrected, x)
    assert set(report.corrected) == {"conv", "depthwise", "separable", "head"}
    before, after = (mean_errors(model, student, x, path) for student in (plain, corrected))
    assert before.max() > 1e-3
    assert after.max() < 1e-4


def test_corrected_biases_before_an_activation_of_the_layer_itself():
    model = randomize(dense_net(features=12, hidden=16))
    x = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
    student = compress(model, COARSE)
    calibrate(student, x)
    kernel = finalize(student).layers[0].kernel.numpy()
    wanted = (x @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy()).mean(0)
    got = (x @ kernel + student.network.layers[0].bias.numpy()).mean(0)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert np.abs(student.network.layers[0].bias - model.layers[0].bias.numpy()).max() > 1e-3


def test_correction_lowers_the_error_of_the_whole_net():
    model = conv_net()
    x, _ = images(200)
    x_new, _ = images(200, seed=5)
    expected = model(x_new).numpy()
    errors = {}
    for correction in (False, True):
        student = compress(model, COARSE)
        calibrate(student, x, bias_correction=correction)
        errors[correction] = np.mean((student(x_new).numpy() - expected) ** 2)
    assert errors[True] < 0.8 * errors[False]


@pytest.mark.slow
def test_the_setting_of_each_plan_and_of_the_call():
    x = np.random.default_rng(0).normal(size=(8192, 12)).astype("float32")
    x[0] *= 100.0  # fewer values than one in ten thousand
    model = randomize(dense_net())
    widths = {}
    for name, rule, argument in [
        ("min_max", Rule("*", weight_bits=8), None),
        ("by plan", Rule("*", weight_bits=8, range_setting="percentile"), None),
        ("by call", Rule("*", weight_bits=8), "percentile"),
    ]:
        student = compress(model, Policy([rule]))
        report = calibrate(
            student, x, range_setting=argument, bias_correction=False, num_samples=8192
        )
        widths[name] = report.ranges["hidden"][1]
    assert widths["by plan"] == pytest.approx(widths["by call"], rel=0.02)
    assert widths["by plan"] < 0.7 * widths["min_max"]


def test_a_layer_called_twice_stays_and_is_named():
    student = compress(shared_net(), COARSE)
    generator = np.random.default_rng(0)
    data = {side: generator.normal(size=(16, 5)).astype("float32") for side in ("left", "right")}
    report = calibrate(student, data)
    assert report.corrected == ("head",)
    assert report.uncorrected == ("shared",)


def test_the_users_model_is_not_changed():
    model = conv_net()
    before = fingerprint(model)
    calibrate(compress(model, INT8), images(8)[0])
    assert fingerprint(model) == before


def test_zeros_throughout_leave_the_range_unset():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu", name="dead")])
    model.layers[0].bias.assign([-1.0] * 3)
    model.layers[0].kernel.assign(tf.zeros((4, 3)))
    model = keras.Sequential([*model.layers, layers.Dense(2, name="head")])
    model.build((None, 4))
    student = compress(model, INT8)
    report = calibrate(student, np.ones((8, 4), "float32"))
    assert "dead" not in report.ranges
    got, expected = student(np.ones((8, 4), "float32")), model(np.ones((8, 4)))
    np.testing.assert_allclose(got, expected, atol=0.01)


def test_bad_input_is_an_error():
    student = compress(randomize(dense_net()), INT8)
    with pytest.raises(ArgumentTypeError, match="compress"):
        calibrate(dense_net(), np.zeros((4, 12)))
    with pytest.raises(InvalidArgumentError, match="range_setting"):
        calibrate(student, np.zeros((4, 12)), range_setting="entropy")
    with pytest.raises(InvalidArgumentError, match="num_samples"):
        calibrate(student, np.zeros((4, 12)), num_samples=0)
    with pytest.raises(InvalidArgumentError, match="shape"):
        calibrate(student, np.zeros((4, 5)))
