"""What a support set tells of layers, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.problems import budget_between
from tests.small_models import randomize
from tf_metacompress.baselines.layer_damage import LARGEST_RISE
from tf_metacompress.meta import InnerLoop, MetaCompressor
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.support_reading import _shares
from tf_metacompress.ops import fake_quantize_weights
from tf_metacompress.policy import action_grid
from tf_metacompress.tasks import Task

ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))


@pytest.fixture(scope="module")
def task():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu")])
    model.add(keras.layers.Dense(3))
    randomize(model)
    model.compile(loss="mse")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 6)).astype("float32")
    y = generator.normal(size=(200, 3)).astype("float32")
    return Task(model, budget_between(model, 0.9, ACTIONS), support=(x, y))


def loss_of(weights, x, y):
    hidden = np.maximum(x @ weights[0] + weights[1], 0.0)
    return float(np.mean((hidden @ weights[2] + weights[3] - y) ** 2))


def compressed(kernel, action):
    out = fake_quantize_weights(tf.constant(kernel), action.weight_bits, (1,)).numpy().ravel()
    out[
        np.argsort(np.abs(kernel), axis=None, kind="stable")[: round(action.sparsity * kernel.size)]
    ] = 0
    return out.reshape(kernel.shape)


def test_the_measured_share_is_that_of_the_loss_with_one_layer_compressed(task):
    prepared = TaskCompiler(ACTIONS, 0.05, InnerLoop()).prepare(task)
    rows = np.linspace(0, 199, 128).astype(int)
    x, y = (part[rows] for part in task.support)
    weights = [np.asarray(w, np.float64) for w in task.model.get_weights()]
    rise = np.zeros((2, len(ACTIONS)))
    for layer in range(2):
        for index, action in enumerate(ACTIONS):
            changed = list(weights)
            changed[2 * layer] = compressed(weights[2 * layer], action)
            rise[layer, index] = max(loss_of(changed, x, y) - loss_of(weights, x, y), 0.0)
        for bits in (4, 8):
            rows = [i for i, a in enumerate(ACTIONS) if a.weight_bits == bits]
            rise[layer, rows] = np.maximum.accumulate(rise[layer, rows])
    expected = np.maximum(rise / rise.max(), 1e-4)
    np.testing.assert_allclose(prepared.told.measured, expected, rtol=1e-3, atol=1e-5)
    known = prepared.problem.features[..., -1]
    np.testing.assert_allclose(known, np.log10(expected), atol=1e-3)


def test_a_proposal_reads_its_support_set(task):
    compressor = MetaCompressor(actions=ACTIONS)
    prepared = compressor.compiler().prepare(task)
    generator = np.random.default_rng(1)
    phi = [t + 0.5 * generator.normal(size=t.shape).astype("float32") for t in compressor.phi]
    trained = compressor.with_phi(phi)
    blind = trained.propose(task.model, task.budget)
    reading = trained.propose(task.model, task.budget, support=task.support)
    assert blind.rules != reading.rules
    problem = prepared.blind
    joint = np.sqrt(problem.prior * prepared.told.measured)
    expected = problem.policy(joint, "it").rules
    assert compressor.propose(task.model, task.budget, support=task.support).rules == expected
    np.testing.assert_allclose(prepared.problem.prior.mean(), problem.prior.mean())
    assert (
        compressor.propose(task.model, task.budget).rules
        == problem.policy(problem.prior, "it").rules
    )


@pytest.mark.slow
def test_models_that_have_no_second_order_are_read_too(task):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
    model.add(keras.layers.LayerNormalization())
    model.add(keras.layers.Dense(3))
    model.compile(loss="mse")
    budget = budget_between(model, 0.6, ACTIONS)
    told = Task(model, budget, support=task.support)
    compressor = MetaCompressor(actions=ACTIONS)
    assert compressor.propose(model, budget, support=task.support).rules
    assert compressor.adapt(told, 1).policy.rules


def test_a_loss_that_is_not_finite_does_not_hide_the_others():
    rise = np.array([[0.0, 0.2, LARGEST_RISE], [0.1, 0.4, 0.4]])
    np.testing.assert_allclose(_shares(rise), [[1e-4, 0.5, 1.0], [0.25, 1.0, 1.0]])
    np.testing.assert_allclose(_shares(np.zeros((1, 2))), 1e-4)
