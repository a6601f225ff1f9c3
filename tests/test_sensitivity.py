"""Damage of single layers against models compressed by hand, and the allocation on top."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import fingerprint, randomize
from tf_metacompress import baselines, compress, finalize
from tf_metacompress.anatomy import describe
from tf_metacompress.baselines.layer_damage import Bench, hessian_damage, measured_damage
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
)
from tf_metacompress.policy import Action, Budget, LayerPlan, Policy

layers = keras.layers
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy()


def small_net():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(8, 3, name="separable")(x)
    x = layers.Flatten()(x)
    return randomize(keras.Model(inputs, layers.Dense(5, activation="softmax", name="head")(x)))


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    return generator.normal(size=(32, 8, 8, 2)).astype("float32"), generator.integers(5, size=32)


def bench_of(net, batch):
    infos = [info for info in describe(net) if info.compressible]
    return Bench(net, infos, batch, CROSS_ENTROPY), infos


@pytest.mark.parametrize("action", [Action(0.0, 4), Action(0.5, 8), Action(0.9, 4)])
def test_measured_damage_is_that_of_a_compressed_model(action, net, batch):
    bench, infos = bench_of(net, batch)
    damage = measured_damage(bench, [action])
    x, y = batch
    base = float(CROSS_ENTROPY(y, net(x)))
    for row, info in enumerate(infos):
        plan = LayerPlan(info.name, action.sparsity, action.weight_bits)
        alone = finalize(compress(net, Policy.from_plans([plan])))
        expected = max(float(CROSS_ENTROPY(y, alone(x))) - base, 0.0)
        assert damage[row, 0] == pytest.approx(expected, abs=2e-5)


def test_damage_does_not_fall_in_the_sparsity(net, batch):
    sparsities = (0.0, 0.3, 0.6, 0.9)
    damage = measured_damage(bench_of(net, batch)[0], [Action(s, 8) for s in sparsities])
    assert (np.diff(damage, axis=1) >= 0).all() and damage.max() > 0.01


def test_hessian_damage_is_the_mean_curvature_times_the_energy():
    """On a linear model with a squared loss the Hessian is known: diag = mean of 2 x² / outputs."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False, name="head")])
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = np.zeros((64, 3), "float32")
    loss = keras.losses.MeanSquaredError()
    infos = [info for info in describe(model) if info.compressible]
    actions = [Action(0.5, 32), Action(0.75, 32)]
    found = hessian_damage(Bench(model, infos, (x, y), loss), actions)
    trace = np.mean(np.mean(2.0 * x**2 / 3.0, axis=0))
    weights = np.sort(np.abs(model.layers[-1].kernel.numpy()), axis=None)
    expected = [trace * np.sum(weights[:k] ** 2) for k in (6, 9)]
    # Sixteen probes: off-diagonal terms average out but for a fifth.
    np.testing.assert_allclose(found[0], expected, rtol=0.35)
    assert found[0, 1] / found[0, 0] == pytest.approx(expected[1] / expected[0], rel=1e-4)


@pytest.mark.parametrize("measure", ["loss", "hessian"])
def test_the_policy_fits_and_the_model_is_only_read(measure, net, batch):
    before = fingerprint(net)
    policy = baselines.sensitivity(net, Budget(size_ratio=0.6), support=batch, measure=measure)
    assert fingerprint(net) == before
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.name == "sensitivity" and policy.provenance["measure"] == measure
    assert np.isfinite(compress(net, policy)(batch[0])).all()


def test_an_insensitive_layer_bears_the_pruning():
    inputs = keras.Input((64,))
    used = layers.Dense(128, activation="relu", name="used")(inputs)
    unused = layers.Dense(128, activation="relu", name="unused")(inputs)
    joined = layers.Concatenate()([used, unused])
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(joined))
    head = model.get_layer("head")
    kernel = head.kernel.numpy()
    kernel[128:] = 0.0
    head.kernel.assign(kernel)
    x = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    y = tf.argmax(model(x), -1).numpy()
    policy = baselines.sensitivity(model, Budget(size_ratio=0.13), support=(x, y))
    plans = {plan.layer: plan for plan in policy.resolve(describe(model))}
    assert plans["unused"].sparsity > 0.97
    assert plans["used"].sparsity < 0.5


def test_bad_arguments_are_errors(net, batch):
    budget = Budget(size_ratio=0.5)
    with pytest.raises(InvalidArgumentError, match="measure"):
        baselines.sensitivity(net, budget, support=batch, measure="guess")
    with pytest.raises(ArgumentTypeError, match="support"):
        baselines.sensitivity(net, budget, support=batch[0])
    with pytest.raises(ArgumentTypeError, match="budget"):
        baselines.sensitivity(net, 0.1, support=batch)
    with pytest.raises(InfeasibleBudgetError):
        baselines.sensitivity(net, Budget(size_bytes=10.0), support=batch)
