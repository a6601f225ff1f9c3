"""Φ's heads: their mean, their spread, and how meta-training keeps them apart."""

import numpy as np
import pytest
import tensorflow as tf

from tests.meta.problems import budget_between
from tests.small_models import dense_net, randomize
from tf_metacompress.errors import MetacompressError
from tf_metacompress.meta import InnerLoop, MetaCompressor, damage_network
from tf_metacompress.meta.features import FEATURES, NUM_FEATURES, SUPPORT_FEATURES
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.variety import bootstrap_weights, varied_tasks
from tf_metacompress.policy import action_grid
from tf_metacompress.tasks import Task

FEW_ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))


def wild(num_heads=3, seed=0):
    generator = np.random.default_rng(seed)
    phi = damage_network.init_heads(5, (4,), num_heads, dtype="float64")
    return tuple(w + generator.normal(0, 0.5, w.shape) for w in phi)


def inputs(seed=1):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(2, 3, 5)), generator.uniform(0.1, 1, (2, 3))


@pytest.mark.parametrize("num_heads", [1, 3, 7, 8])
def test_an_untrained_ensemble_predicts_the_prior_exactly(num_heads):
    features, prior = inputs()
    phi = damage_network.init_heads(5, (4, 4), num_heads, dtype="float64")
    mean, deviation = damage_network.predict(phi, features, prior)
    np.testing.assert_array_equal(mean, prior)
    np.testing.assert_array_equal(deviation, 0.0)


def test_heads_start_different_and_repeatably():
    one, other = (damage_network.init_heads(5, (4,), 3, seed) for seed in (0, 1))
    again = damage_network.init_heads(5, (4,), 3, 0)
    assert not np.allclose(one[0][0], one[0][1]) and not np.allclose(one[0], other[0])
    np.testing.assert_array_equal(one[0], again[0])


def test_stacked_heads_equal_single_ones():
    features, prior = inputs()
    phi = wild()
    stacked = damage_network.apply(phi, features, prior)
    for head in range(3):
        alone = damage_network.apply(tuple(w[head] for w in phi), features, prior)
        np.testing.assert_allclose(stacked[head], alone, rtol=1e-12)


def test_mean_and_spread_of_the_heads():
    features, prior = inputs()
    phi = wild()
    heads = damage_network.apply(phi, features, prior).numpy()
    mean, deviation = damage_network.predict(phi, features, prior)
    expected = np.exp(np.log(heads).mean(axis=0))
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    np.testing.assert_allclose(deviation, np.sqrt(((heads - expected) ** 2).mean(axis=0)))
    assert deviation.min() > 0


def test_heads_weigh_what_they_are_given():
    features, prior = inputs()
    phi = wild()
    heads = damage_network.apply(phi, features, prior).numpy()
    found = damage_network.mean_damage(phi, features, prior, tf.constant([2.0, 0.0, 1.0]))
    expected = np.exp((2 * np.log(heads[0]) + np.log(heads[2])) / 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bootstrap_weights_are_a_poisson_sample_of_tasks():
    drawn = np.stack([bootstrap_weights(0, task, 8) for task in range(500)])
    assert drawn.any(axis=1).all() and np.array_equal(drawn, np.rint(drawn))
    np.testing.assert_allclose(drawn.mean(), 1.0, atol=0.06)
    np.testing.assert_allclose((drawn == 0).mean(), np.exp(-1), atol=0.03)
    np.testing.assert_array_equal(drawn[7], bootstrap_weights(0, 7, 8))
    assert all(bootstrap_weights(0, task, 1) >= 1 for task in range(30))


@pytest.fixture(scope="module")
def prepared():
    generator = np.random.default_rng(0)
    model = randomize(dense_net())
    x, y = generator.normal(size=(32, 12)).astype("float32"), generator.integers(0, 3, 32)
    task = Task(model, budget_between(model, 0.3, FEW_ACTIONS), support=(x, y))
    return TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop(inner_steps=1)).prepare(task)


@pytest.mark.slow
def test_only_the_heads_that_see_a_task_learn_from_it(prepared):
    compressor = MetaCompressor(hidden=(4,), num_heads=3, actions=FEW_ACTIONS)
    generator = np.random.default_rng(0)
    phi = tuple(w + generator.normal(0, 0.3, w.shape).astype("float32") for w in compressor.phi)
    task = prepared.varied(np.array([0.0, 1.0, 2.0]), True)
    gradients, *_ = task.gradient(phi, task.draw(16, generator))
    for gradient in gradients:
        assert not np.any(gradient[0])
    assert np.abs(gradients[-2][2]).max() > 1e-8


def test_a_task_is_learned_with_and_without_its_support_set(prepared):
    ((without, told),) = varied_tasks([prepared], 0, 8)
    columns = slice(NUM_FEATURES - len(SUPPORT_FEATURES), None)
    assert not np.any(without.tensors.features[..., columns])
    known = FEATURES.index("support_known")
    np.testing.assert_array_equal(told.tensors.features[..., known], 1.0)
    np.testing.assert_allclose(told.tensors.features, prepared.problem.features, rtol=1e-6)
    np.testing.assert_array_equal(told.tensors.head_weights, bootstrap_weights(0, 0, 8))


def test_a_compressor_needs_a_head():
    with pytest.raises(MetacompressError, match="num_heads"):
        MetaCompressor(num_heads=0)
