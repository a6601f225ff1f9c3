"""A model as a function of its weights, and what it observes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.learners.problems import IMAGE, SPARSE_INT8, normalised_net, sampler
from tests.small_models import conv_net, nested_net, randomize, subclassed_net, tiny_net
from tf_metacompress.meta import MAML
from tf_metacompress.meta.learners.network import Network

layers = keras.layers
X = np.random.default_rng(0).normal(size=(6, *IMAGE)).astype("float32")


def weights_of(network):
    return tuple(tf.convert_to_tensor(v) for v in network.weights)


@pytest.mark.parametrize("make", [tiny_net, conv_net, nested_net, subclassed_net])
def test_it_computes_what_the_model_predicts(make):
    model, x = make(), np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype("float32")
    network = Network(model)
    got = network(weights_of(network), tf.constant(x))
    np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)


def test_statistics_of_the_support_are_those_of_its_rows_alone():
    network = Network(normalised_net(), "support")
    weights = weights_of(network)
    both = network(weights, tf.constant(X), 4).numpy()
    support = network(weights, tf.constant(X[:4])).numpy()
    np.testing.assert_allclose(both[:4], support, rtol=1e-5, atol=1e-5)
    changed = X.copy()
    changed[5] += 10.0
    others = network(weights, tf.constant(changed), 4).numpy()
    np.testing.assert_allclose(others[:5], both[:5], rtol=1e-5, atol=1e-5)


def test_statistics_of_a_batch_are_those_of_keras_in_training():
    model = normalised_net()
    network = Network(model, "batch")
    got = network(weights_of(network), tf.constant(X))
    np.testing.assert_allclose(got, model(X, training=True), rtol=1e-4, atol=1e-5)


def test_moving_statistics_stay_unless_the_layers_use_others():
    network = Network(normalised_net(), "inference")
    assert not network.observes
    assert network.statistics_at(weights_of(network), tf.constant(X)) == {}


@pytest.mark.parametrize("batch_norm", ["inference", "support", "batch"])
def test_ranges_are_those_of_what_is_computed_afterwards(batch_norm):
    """Not those of Keras in training, on other statistics and with Dropout."""
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Dropout(0.9),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ]
    )
    network = Network(randomize(model), batch_norm, SPARSE_INT8)
    assert len(network.ranges) >= 2
    weights = weights_of(network)
    network.observe(weights, tf.constant(X), len(X), 0.0)
    largest = max(float(r.range_max) for r in network.ranges if r.minimum is None)
    outputs = network(weights, tf.constant(X)).numpy()
    assert largest == pytest.approx(outputs.max(), rel=0.05, abs=0.02)


def test_observing_moves_ranges_by_their_momentum_and_nothing_else():
    network = Network(normalised_net(), "support", SPARSE_INT8)
    weights = weights_of(network)
    network.observe(weights, tf.constant(X), 4, 0.0)
    state = {v.path: np.asarray(v).copy() for v in network.model.variables}
    before = [float(r.range_max) for r in network.ranges]
    network.observe(weights, tf.constant(2.0 * X), 4, 0.5)
    after = [float(r.range_max) for r in network.ranges]
    assert before != after
    moved = {
        v.path.rpartition("/")[2]
        for v in network.model.variables
        if not np.array_equal(state[v.path], v)
    }
    assert moved <= {"range_min", "range_max", "moving_mean", "moving_variance"}
    assert {"range_max", "moving_mean", "moving_variance"} <= moved


def test_seeing_moves_nothing():
    network = Network(normalised_net(), "support", SPARSE_INT8)
    before = [np.asarray(v).copy() for v in network.model.variables]
    network.seen(weights_of(network), tf.constant(X), 4, 0.5)
    for a, b in zip(before, network.model.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_calibration_brings_ranges_of_weights_trained_elsewhere():
    learner = MAML(normalised_net(), policy=SPARSE_INT8, inner_lr=0.05).compile("sgd")
    assert all(float(r.range_max) == float(r.range_min) == 0.0 for r in learner.network.ranges)
    tasks = sampler(IMAGE)
    weights = learner.model.get_weights()[:2]
    learner.calibrate(tasks, num_tasks=3)
    assert all(float(r.range_max) > float(r.range_min) for r in learner.network.ranges)
    np.testing.assert_array_equal(weights[0], learner.model.get_weights()[0])
    plain = MAML(normalised_net()).compile("sgd")
    assert plain.calibrate(tasks, num_tasks=1) is plain
