"""Damage by Fisher information and shares of lost energy, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.problems import budget_between
from tests.small_models import conv_net, images, randomize
from tf_metacompress.meta import InnerLoop
from tf_metacompress.meta.features import FEATURES
from tf_metacompress.meta.fisher import fisher_damage
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.prior import energy_losses
from tf_metacompress.meta.problem import make_problem
from tf_metacompress.ops import fake_quantize_weights
from tf_metacompress.policy import Action, KernelInfo, action_grid
from tf_metacompress.tasks import Task

ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))


def linear_case():
    """A linear model under squared error, whose gradients are known."""
    model = randomize(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="head")]))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 6)).astype("float32")
    y = generator.normal(size=(64, 3)).astype("float32")
    budget = budget_between(model, 0.9, ACTIONS)
    return Task(model, budget, support=(x, y), loss="mse")


def test_it_equals_the_gradients_of_a_linear_model():
    task = linear_case()
    prepared = TaskCompiler(ACTIONS, 0.05, InnerLoop()).prepare(task)
    weights = (prepared.theta, prepared.tensors.others)
    damage = fisher_damage(prepared.relaxed, weights, prepared.problem, *prepared.full_support())
    kernel, bias = (np.asarray(w, np.float64) for w in task.model.get_weights())
    x, y = task.support
    fisher = np.zeros_like(kernel)
    for batch in range(8):
        rows = np.linspace(0, 63, 64).astype(int)[batch::8]
        error = x[rows] @ kernel + bias - y[rows]
        fisher += (x[rows].T @ error * 2 / error.size) ** 2 / 8
    order = np.argsort(np.abs(kernel), axis=None, kind="stable")
    for index, action in enumerate(ACTIONS):
        rounded = fake_quantize_weights(tf.constant(kernel), action.weight_bits, (1,)).numpy()
        compressed = rounded.ravel().copy()
        compressed[order[: round(action.sparsity * 18)]] = 0.0
        change = fisher * np.square(kernel - compressed.reshape(kernel.shape))
        expected = change.sum() / (fisher * kernel**2).sum()
        assert damage[0, index] == pytest.approx(expected, rel=1e-3)


def test_the_features_of_a_task_know_its_support_set():
    model = randomize(conv_net())
    x, y = images(16)
    budget = budget_between(model, 0.5, ACTIONS)
    prepared = TaskCompiler(ACTIONS, 0.05, InnerLoop()).prepare(Task(model, budget, support=(x, y)))
    blind = make_problem(model, budget, actions=ACTIONS).features
    told = prepared.problem.features
    np.testing.assert_array_equal(told[..., :-3], blind[..., :-3])
    assert not blind[..., -3:].any()
    assert FEATURES[-3] == "support_known" and (told[..., -3] == 1).all()
    shares = 10 ** told[..., -2]
    assert (shares <= 1 + 1e-6).all() and np.isfinite(told).all()
    eight_bits = [i for i, action in enumerate(ACTIONS) if action.weight_bits == 8]
    assert (np.diff(shares[:, eight_bits], axis=1) >= 0).all()


def test_energy_losses_of_two_kernels_by_hand():
    kernels = [np.array([[1.0], [-2.0], [3.0]]), np.array([[2.0], [4.0]])]
    infos = [KernelInfo(name=f"k{i}", shape=k.shape, channel_axis=(1,)) for i, k in
             enumerate(kernels)]  # fmt: skip
    actions = [Action(0.0, 32), Action(0.5, 32), Action(0.0, 2)]
    noise, removed = energy_losses(kernels, infos, actions)
    np.testing.assert_allclose(removed, [0.0, (1 + 4 + 4) / 34, 0.0])
    # Two bits keep −max, 0 and max: 1 → 0, −2 → −3; 2 lies halfway and goes to the even 0.
    np.testing.assert_allclose(noise, [0.0, 0.0, (1 + 1 + 4) / 34])
