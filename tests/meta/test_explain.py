"""`explain`: choices, runner-ups, prices and drivers, each against an independent computation."""

import json

import keras
import numpy as np
import pytest
from matplotlib.image import imread

from tests.meta.problems import FLOAT_DEVICE, budget_between
from tests.small_models import dense_net, fingerprint, nested_net, randomize, residual_net
from tf_metacompress import baselines
from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError, UnsupportedModelError
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.features import ACTION_FEATURES, FEATURE_GROUPS, FEATURES, LAYER_FEATURES
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.policy import (
    Action,
    Budget,
    DeviceProfile,
    LatencyTable,
    Policy,
    Rule,
    action_grid,
    allocate,
    layer_key,
)

FEW_ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))


def learned(seed=0, stddev=0.3, **options):
    compressor = MetaCompressor(**options)
    generator = np.random.default_rng(seed)
    compressor.phi = tuple(
        weight + generator.normal(0, stddev, weight.shape).astype("float32")
        for weight in compressor.phi
    )
    return compressor


@pytest.fixture(scope="module")
def case():
    """A proposal of a Φ that has learned something, and its explanation."""
    model = randomize(residual_net())
    budget = budget_between(model, 0.4, DEFAULT_ACTIONS)
    compressor = learned(hidden=(6,), num_heads=3)
    policy = compressor.propose(model, budget)
    problem = make_problem(model, budget)
    return compressor, model, problem, policy, compressor.explain(model, policy)


def numpy_heads(phi, features, prior):
    """Damage that each head predicts, shape (heads, layers, actions)."""
    k1, b1, k2, b2 = (np.asarray(tensor, np.float64) for tensor in phi)
    found = []
    for head in range(len(k1)):
        raw = (np.tanh(features @ k1[head] + b1[head]) @ k2[head] + b2[head])[..., 0]
        found.append(prior * np.exp(3 * np.tanh(raw / 3)))
    return np.stack(found)


def test_choices_have_the_damage_and_uncertainty_of_the_heads(case):
    compressor, _, problem, _, explanation = case
    heads = numpy_heads(compressor.phi, problem.features, problem.prior)
    mean = np.exp(np.log(np.maximum(heads, 1e-300)).mean(axis=0))
    deviation = np.sqrt(np.square(heads - mean).mean(axis=0))
    choice = problem.allocate(mean).choice
    rows = np.arange(len(choice))
    options = [layer.choice for layer in explanation.layers]
    np.testing.assert_allclose([o.damage for o in options], mean[rows, choice], rtol=1e-6)
    np.testing.assert_allclose([o.deviation for o in options], deviation[rows, choice], rtol=1e-5)
    assert max(option.deviation for option in options) > 0
    costs = problem.table.cost[rows, choice, 0]
    np.testing.assert_allclose([option.cost for option in options], costs)
    assert explanation.cost == pytest.approx(costs.sum() + problem.table.fixed[0])
    assert explanation.cost <= explanation.limit == problem.limits[0]
    assert explanation.damage == pytest.approx(mean[rows, choice].sum())
    assert explanation.damage == pytest.approx(explanation.least_damage)


def test_the_runner_up_is_next_best_at_the_price(case):
    compressor, _, problem, _, explanation = case
    assert explanation.price > 0
    mean = compressor.predict_damage(problem.features, problem.prior)
    for row, layer in enumerate(explanation.layers):
        priced = mean[row] + explanation.price * problem.table.cost[row, :, 0]
        values = {
            (action.sparsity, action.weight_bits): value
            for action, value in zip(problem.table.actions, priced, strict=True)
        }
        del values[layer.choice.sparsity, layer.choice.weight_bits]
        expected = min(values, key=values.get)
        assert (layer.runner_up.sparsity, layer.runner_up.weight_bits) == expected


def test_a_changed_budget_is_allocated_anew(case):
    compressor, _, problem, _, explanation = case
    damage, table = compressor.predict_damage(problem.features, problem.prior), problem.table
    choice = problem.allocate(damage).choice
    assert explanation.more.amount == 1024.0
    other = allocate(damage, table.cost, problem.limits + 1024.0, fixed=table.fixed)
    expected = other.damage - explanation.least_damage
    assert explanation.more.damage_change == pytest.approx(expected) and expected < 0
    pairs = zip(problem.infos, choice, other.choice, strict=True)
    assert list(explanation.more.layers) == [info.name for info, a, b in pairs if a != b]
    assert explanation.less is None


def test_the_price_is_the_slope_of_the_least_damage(case):
    """The relaxed least damage is convex in the budget, and the price is between its slopes."""
    compressor, _, problem, _, explanation = case
    damage, table = compressor.predict_damage(problem.features, problem.prior), problem.table

    def lagrangian(price):
        room = problem.limits[0] - table.fixed[0]
        return (damage + price * table.cost[:, :, 0]).min(axis=1).sum() - price * room

    best = lagrangian(explanation.price)
    assert all(lagrangian(explanation.price * f) <= best + 1e-12 for f in (0.5, 0.99, 1.01, 2.0))


def test_every_limited_resource_has_its_price(case):
    """The one that is scarcest as a share need not be the one that costs damage."""
    compressor, model, problem, policy, _ = case
    table = make_problem(model, Budget(flash_bytes=1e9)).table
    least, most = (f(np.where(table.mask, table.cost[..., 0], np.nan), axis=1).sum()
                   for f in (np.nanmin, np.nanmax))  # fmt: skip
    limit = 0.5 * (least + most) + table.fixed[0]
    budget = Budget(size_bytes=problem.limits[0], flash_bytes=limit)
    flash = compressor.explain(model, policy, Budget(flash_bytes=1e9)).cost
    explanation = compressor.explain(model, policy, budget)
    joint = make_problem(model, budget)
    damage = compressor.predict_damage(joint.features, joint.prior)
    assert len(explanation.others) == 1
    found = {each.resource: each for each in (explanation, *explanation.others)}
    assert set(found) == set(joint.table.resources) == {"size_bytes", "flash_bytes"}
    assert found["flash_bytes"].cost == pytest.approx(flash)
    assert found["flash_bytes"].limit == pytest.approx(limit)
    prices = np.array([found[name].price for name in joint.table.resources])
    room = joint.limits - joint.table.fixed

    def lagrangian(prices):
        return (damage + joint.table.cost @ prices).min(axis=1).sum() - prices @ room

    best = lagrangian(prices)
    assert prices.max() > 0
    for factors in ((0.5, 1), (2, 1), (1, 0.5), (1, 2), (0.9, 1.1)):
        assert lagrangian(prices * factors) <= best + 1e-12
    (other,) = explanation.others
    assert f"also limited: {other.cost / 1024:.4g} of" in str(explanation)
    assert f"price {other.price * 1024:.4g} a KiB" in str(explanation)
    assert json.loads(explanation.to_json())["others"][0]["price"] == other.price


def only_feature(name, size=3.0):
    """A Φ whose correction is a function of one feature."""
    compressor = MetaCompressor(hidden=(1,), num_heads=2)
    kernel = np.zeros((2, len(FEATURES), 1), "float32")
    kernel[:, FEATURES.index(name)] = 0.05
    compressor.phi = (kernel, compressor.phi[1], size + 0 * np.asarray(compressor.phi[2]),
                      compressor.phi[3])  # fmt: skip
    return compressor


@pytest.mark.parametrize("name", ["sparsity", "log_weight_share", "log_ratio_to_previous"])
def test_the_feature_that_drives_is_named(name):
    model = randomize(residual_net())
    explanation = only_feature(name).explain(model, Policy([Rule("*", sparsity=0.9)]))
    (group,) = [key for key, names in FEATURE_GROUPS.items() if name in names]
    sizes = {key: max(abs(layer.drivers[key]) for layer in explanation.layers)
             for key in FEATURE_GROUPS}  # fmt: skip
    assert sizes.pop(group) > 0.005
    assert max(sizes.values()) < 1e-12
    assert any(layer.main_driver.startswith(group) for layer in explanation.layers)


def test_every_feature_is_in_one_group():
    grouped = [name for names in FEATURE_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(FEATURES) and len(set(grouped)) == len(FEATURES)
    assert FEATURES[len(LAYER_FEATURES)] == ACTION_FEATURES[0]


def test_untrained_nothing_but_the_prior_drives():
    model = randomize(dense_net())
    explanation = MetaCompressor().explain(model, Policy([Rule("*", weight_bits=8)]))
    assert {layer.main_driver for layer in explanation.layers} == {"prior alone"}
    assert all(layer.choice.deviation == 0 for layer in explanation.layers)


def test_actions_of_the_grid_and_others_are_judged_alike():
    """A plan in the grid is judged the same by a compressor whose grid lacks it."""
    model = randomize(residual_net())
    policy = Policy([Rule("*", sparsity=0.4, weight_bits=4), Rule("head", weight_bits=8)])
    budget = budget_between(model, 0.5, FEW_ACTIONS)
    lacking = tuple(a for a in FEW_ACTIONS if (a.sparsity, a.weight_bits) != (0.4, 4))
    one, other = (
        learned(actions=given).explain(model, policy, budget) for given in (FEW_ACTIONS, lacking)
    )  # fmt: skip
    for a, b in zip(one.layers, other.layers, strict=True):
        assert a.choice.damage == pytest.approx(b.choice.damage, rel=0.02)
        assert a.choice.cost == pytest.approx(b.choice.cost, rel=0.02)


def test_any_policy_is_explained():
    model = randomize(residual_net())
    policies = [
        Policy(name="nothing"),
        Policy([Rule("*", sparsity=0.37, weight_bits=6)]),
        Policy([Rule("stem", threshold=0.3, weight_bits=8)]),
        Policy([Rule("branch", pattern="2:4", weight_bits=8), Rule("fused", quantizer="codebook",
                                                                   weight_bits=4)]),
        baselines.lamp(model, Budget(size_ratio=0.65)),
    ]  # fmt: skip
    for policy in policies:
        explanation = learned().explain(model, policy)
        assert explanation.limit == pytest.approx(explanation.cost)
        assert [layer.layer for layer in explanation.layers] == [
            "stem", "branch", "fused", "hidden", "head",
        ]  # fmt: skip
        assert np.isfinite([layer.choice.damage for layer in explanation.layers]).all()
        json.loads(explanation.to_json())
    notes = learned().explain(model, policies[3]).notes
    assert len(notes) == 2 and "branch" in notes[0] and "codebook" in notes[1]


def test_a_threshold_is_judged_by_the_weights_below_it():
    model = randomize(dense_net())
    policy = Policy([Rule("hidden", threshold=0.3, weight_bits=8)])
    explanation = MetaCompressor().explain(model, policy)
    expected = np.mean(np.abs(model.layers[0].kernel.numpy()) < 0.3)
    assert explanation.layers[0].choice.sparsity == pytest.approx(expected)


def test_budget_and_device_come_from_the_policy_unless_given():
    model = randomize(residual_net())
    compressor = MetaCompressor()
    policy = compressor.propose(model, Budget(size_ratio=0.9, flash_bytes=6_280), "cortex-m")
    explanation = compressor.explain(model, policy)
    assert (explanation.device, explanation.resource) == ("cortex-m", "flash_bytes")
    assert explanation.limit == 6_280
    given = compressor.explain(model, policy, Budget(macs_ratio=0.9), "x86-host")
    assert (given.device, given.resource) == ("x86-host", "macs")


def test_a_device_without_another_action_has_no_runner_up():
    model = randomize(dense_net())
    compressor = MetaCompressor(actions=action_grid((0.0,), (32,)))
    explanation = compressor.explain(model, Policy(), device=FLOAT_DEVICE)
    assert [layer.runner_up for layer in explanation.layers] == [None, None]
    assert "none" in str(explanation)


def test_text_json_and_picture(case, tmp_path):
    _, _, _, policy, explanation = case
    text = str(explanation)
    for layer in explanation.layers:
        (line,) = [line for line in text.splitlines() if line.startswith(f"{layer.layer} ")]
        assert str(layer.choice) in line and str(layer.runner_up) in line
    assert "price: one more KiB saves about" in text and policy.name in text
    assert f"{explanation.price_per_kib:.4g}" in text
    document = json.loads(explanation.to_json())
    assert document["layers"][0]["choice"]["damage"] == explanation.layers[0].choice.damage
    assert document["layers"][0]["drivers"] == dict(explanation.layers[0].drivers)
    explanation.plot(tmp_path / "why.png")
    picture = imread(tmp_path / "why.png")
    assert picture.shape[0] > 300 and picture.std() > 0.05


def test_explaining_only_reads_the_model():
    model = nested_net()
    before = fingerprint(model)
    MetaCompressor().explain(model, Policy([Rule("*", weight_bits=8)]))
    assert fingerprint(model) == before


def test_bad_arguments_of_explain_are_errors():
    compressor, model = MetaCompressor(), dense_net()
    with pytest.raises(ArgumentTypeError, match="policy"):
        compressor.explain(model, "policy.json")
    with pytest.raises(ArgumentTypeError, match="budget"):
        compressor.explain(model, Policy(), 0.1)
    with pytest.raises(InvalidArgumentError, match="fits no layer"):
        compressor.explain(model, Policy([Rule("conv*", weight_bits=8)]))
    with pytest.raises(InvalidArgumentError, match="cortex"):
        compressor.explain(model, Policy(), device="cortex")
    with pytest.raises(UnsupportedModelError):
        compressor.explain(keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]), Policy())
    without_kernels = keras.Sequential([keras.Input((3,)), keras.layers.LayerNormalization()])
    with pytest.raises(UnsupportedModelError):
        compressor.explain(without_kernels, Policy([Rule("*", weight_bits=8)]))


def narrowed_by_hand():
    """`wide` without half of the hidden units, which are the weaker half."""
    wide, narrow = (
        keras.Sequential(
            [
                keras.Input((12,)),
                keras.layers.Dense(units, activation="relu", name="hidden"),
                keras.layers.Dense(3, name="head"),
            ]
        )
        for units in (32, 16)
    )
    randomize(wide)
    hidden, bias, head, head_bias = wide.get_weights()
    hidden[:, 1::2] *= 0.01
    wide.set_weights([hidden, bias, head, head_bias])
    narrow.set_weights([hidden[:, ::2], bias[::2], head[::2], head_bias])
    return wide, narrow


def test_channels_that_go_are_gone_before_layers_are_judged():
    wide, narrow = narrowed_by_hand()
    bits = Rule("*", weight_bits=8)
    policy = Policy([bits, Rule("hidden", sparsity=0.5, pattern="channel", weight_bits=8)])
    budget = Budget(macs_ratio=0.9)
    found = learned().explain(wide, policy, budget, "x86-host")
    expected = learned().explain(narrow, Policy([bits]), Budget(macs_ratio=1.0), "x86-host")
    assert [layer.choice for layer in found.layers] == [layer.choice for layer in expected.layers]
    assert (found.resource, found.cost) == ("macs", 12 * 16 + 16 * 3)
    assert found.limit == pytest.approx(min(0.9 * (12 * 32 + 32 * 3), 12 * 16 + 16 * 3))
    assert found.notes[0].startswith("hidden: 16 of 32 channels stay")
    whole = learned().explain(wide, Policy([bits]), budget, "x86-host")
    assert (whole.cost, whole.notes) == (12 * 32 + 32 * 3, ())


def test_latency_is_that_of_the_narrowed_layers_and_their_borders():
    wide, narrow = narrowed_by_hand()
    infos = compressible_layers(narrow)
    int8, real = Action(weight_bits=8), Action(weight_bits=32)
    entries = {
        (layer_key(info), action): info.macs * each / 1e6
        for model in (wide, narrow)
        for info in compressible_layers(model)
        for action, each in ((int8, 1.0), (real, 3.0))
    }
    table = LatencyTable(entries, device="d", runtime="r", overhead_ms=1e-4, border_ms=2e-5)
    rules = [
        Rule("hidden", sparsity=0.5, pattern="channel", weight_bits=32),
        Rule("head", weight_bits=8),
    ]
    either = DeviceProfile(name="either", weight_bits={"*": (8, 32)}, activation_bits=(8, 32))
    compressor = learned(actions=(int8, real))
    found = compressor.explain(wide, Policy(rules), Budget(latency_ms=1.0), either, latency=table)
    assert found.cost == pytest.approx(table.model_ms(infos, [real, int8]))
    assert found.cost == pytest.approx((3 * 12 * 16 + 16 * 3) / 1e6 + 1e-4 + 2 * 2e-5)
