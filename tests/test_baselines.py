"""Policies that need no learning, against the budget they were made for."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.small_models import conv_net, fingerprint, nested_net, randomize
from tf_metacompress import baselines, compress
from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.policy import (
    Action,
    Budget,
    Policy,
    cost_table,
    device,
    distributions,
)

layers = keras.layers
BASELINES = {
    "uniform": baselines.uniform,
    "erk": baselines.erk,
    "global_magnitude": baselines.global_magnitude,
    "lamp": baselines.lamp,
}
every_baseline = pytest.mark.parametrize("name", BASELINES)


def wide_net():
    """Large enough for a budget to be a matter of its weights."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, name="conv1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(32, 3, name="separable")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return randomize(keras.Model(inputs, layers.Dense(10, name="head")(x)))


@pytest.fixture(scope="module")
def net():
    return wide_net()


@pytest.fixture(scope="module")
def proposed(net):
    """Policy of a baseline at a ratio, made once."""
    return functools.cache(lambda name, ratio: BASELINES[name](net, Budget(size_ratio=ratio)))


def exact_cost(model, policy, resource="size_bytes", device_name="android-arm64"):
    """Cost of the very actions of a policy, each worked out by itself."""
    infos = describe(model)
    plans = policy.resolve(infos)
    actions = tuple(dict.fromkeys(Action(p.sparsity, p.weight_bits) for p in plans))
    table = cost_table(
        infos, kernel_arrays(model), device=device_name, actions=actions, resources=(resource,)
    )
    choice = [actions.index(Action(p.sparsity, p.weight_bits)) for p in plans]
    assert all(table.mask[row, column] for row, column in enumerate(choice))
    return table.total(np.array(choice))[resource], table.reference[resource]


@pytest.mark.parametrize("ratio", [0.2, 0.1])
@every_baseline
def test_the_policy_uses_the_budget_and_no_more(name, ratio, net, proposed):
    policy = proposed(name, ratio)
    cost, reference = exact_cost(net, policy)
    assert cost <= 1.01 * ratio * reference  # costs between grid points are interpolated
    assert cost >= 0.9 * ratio * reference


@every_baseline
def test_sparsities_are_those_of_the_distribution(name, net, proposed):
    policy = proposed(name, 0.1)
    plans = {plan.layer: plan for plan in policy.resolve(describe(net))}
    kernels = kernel_arrays(net)
    order = [(path, kernel) for path in plans for kernel in kernels[path]]

    def spread(sparsity):
        found = getattr(distributions, name)([kernel for _, kernel in order], sparsity)
        by_layer = {path: [] for path in plans}
        for (path, kernel), value in zip(order, found, strict=True):
            by_layer[path].append((value, kernel.size))
        means = [sum(v * n for v, n in of) / sum(n for _, n in of) for of in by_layer.values()]
        return np.array(means)

    got = np.array([plan.sparsity for plan in plans.values()])

    def distance(sparsity):
        return np.abs(spread(sparsity) - got).max()

    about = min(np.arange(0.0, 0.999, 0.02), key=distance)
    near = np.arange(max(about - 0.03, 0.0), min(about + 0.03, 0.999), 1e-3)
    assert min(map(distance, near)) < 0.01
    assert policy.name == name and policy.provenance["device"] == "android-arm64"


@every_baseline
def test_a_loose_budget_removes_nothing(name, net):
    plans = BASELINES[name](net, Budget(size_ratio=1.0)).resolve(describe(net))
    assert [plan.sparsity for plan in plans] == [0.0] * 4
    assert {plan.weight_bits for plan in plans} == {8}


@pytest.mark.parametrize("device_name", ["android-arm64", "cortex-m", "x86-host"])
def test_bits_are_those_the_device_has(device_name, net):
    policy = baselines.lamp(net, Budget(size_ratio=0.1), device_name, weight_bits=4)
    profile = device(device_name)
    for info, plan in zip(
        (i for i in describe(net) if i.compressible), policy.resolve(describe(net)), strict=True
    ):
        assert profile.actions(info, [Action(plan.sparsity, plan.weight_bits)]).all()
    assert {plan.weight_bits for plan in policy.resolve(describe(net))} == {4}


def test_a_device_without_4_bits_for_a_kind_gets_8_there(net):
    profile = replace(device("cortex-m"), weight_bits={"DepthwiseConv2D": (8,), "*": (4, 8)})
    policy = baselines.lamp(net, Budget(size_ratio=0.1), profile, weight_bits=4)
    bits = {plan.layer: plan.weight_bits for plan in policy.resolve(describe(net))}
    assert bits.pop("depthwise") == 8
    assert set(bits.values()) == {4}


def test_fewer_bits_need_less_sparsity(net):
    infos = describe(net)
    budget = Budget(size_ratio=0.08)
    four, eight = (baselines.lamp(net, budget, weight_bits=bits) for bits in (4, 8))
    assert four.sparsity(infos) < eight.sparsity(infos)


def test_several_limits_hold_together(net):
    budget = Budget(size_ratio=0.2, size_bytes=9_000.0)
    assert exact_cost(net, baselines.lamp(net, budget))[0] <= 9_090.0


@every_baseline
def test_an_unreachable_budget_names_the_smallest(name, net):
    with pytest.raises(InfeasibleBudgetError, match="smallest reachable.*size_bytes") as raised:
        BASELINES[name](net, Budget(size_bytes=10.0))
    smallest = raised.value.smallest["size_bytes"]
    BASELINES[name](net, Budget(size_bytes=1.02 * smallest))


@every_baseline
def test_the_model_is_only_read(name):
    model = nested_net()
    before = fingerprint(model)
    policy = BASELINES[name](model, Budget(size_ratio=0.95))
    assert fingerprint(model) == before
    assert Policy.from_json(policy.to_json()) == policy
    assert {rule.layers for rule in policy.rules} == {
        "backbone/conv",
        "backbone/inner/conv",
        "head",
    }


def test_bad_arguments_are_errors(net):
    with pytest.raises(InvalidArgumentError, match="device"):
        baselines.lamp(net, Budget(size_ratio=0.1), "andriod-arm64")
    with pytest.raises(InvalidArgumentError, match="weight_bits"):
        baselines.lamp(net, Budget(size_ratio=0.1), weight_bits=9)
    with pytest.raises(ArgumentTypeError, match="model"):
        baselines.lamp("model.keras", Budget(size_ratio=0.1))
    with pytest.raises(ArgumentTypeError, match="budget"):
        baselines.lamp(net, 0.1)
    with pytest.raises(InvalidArgumentError, match="limit"):
        baselines.lamp(net, Budget(accuracy_drop=0.01))
    with pytest.raises(UnsupportedModelError):
        baselines.lamp(
            keras.Sequential([keras.Input((3,)), layers.BatchNormalization()]),
            Budget(size_ratio=0.1),
        )


def test_the_policy_can_be_carried_out():
    model = conv_net()
    student = compress(model, baselines.lamp(model, Budget(size_ratio=0.95)))
    assert np.isfinite(student(np.zeros((1, 8, 8, 1)))).all()
