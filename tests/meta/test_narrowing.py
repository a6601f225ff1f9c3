"""A latency budget from the proposal to the measured file."""

import keras
import numpy as np
import pytest

from tf_metacompress import Budget, MetaCompressor, Task, compare, compress, export_litert, finalize
from tf_metacompress.anatomy import compressible_layers, describe
from tf_metacompress.deploy import measure_latencies
from tf_metacompress.errors import ArgumentTypeError, InfeasibleBudgetError, InvalidArgumentError
from tf_metacompress.meta.narrowing import narrow_to_latency
from tf_metacompress.policy import Action, LatencyTable, fit_latency, layer_key
from tf_metacompress.surgery import remove_channels

DEVICE = "x86-host"
ACTIONS = (Action(weight_bits=4), Action(weight_bits=8))
OVERHEAD_MS = 0.002


def net(size=8, filters=64):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="a")(inputs)
    y = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="b")(x)
    x = keras.layers.Conv2D(2 * filters, 3, 2, activation="relu", name="c")(x + y)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="head")(x))


def made_up(model, overhead_ms=OVERHEAD_MS):
    """Latencies of the layers as they are: a nanosecond a multiply-accumulate."""
    infos = compressible_layers(model)
    entries = {(layer_key(i), action): i.macs / 1e6 for i in infos for action in ACTIONS}
    return LatencyTable(entries, device="d", runtime="r", overhead_ms=overhead_ms)


def latency_ms(table, infos):
    predictor = fit_latency(table)
    return table.overhead_ms + sum(predictor.lookup(i, Action()) for i in infos if i.compressible)


@pytest.fixture(scope="module")
def given():
    model = net()
    table = made_up(model)
    return model, table, latency_ms(table, describe(model))


def shares(policy, model):
    plans = policy.resolve(describe(model))
    return {plan.layer: plan.sparsity for plan in plans if plan.pattern == "channel"}


def test_no_channel_goes_where_bits_suffice(given):
    model, table, whole_ms = given
    assert narrow_to_latency(model, Budget(latency_ms=whole_ms), DEVICE, table, ACTIONS) is None
    assert narrow_to_latency(model, Budget(size_ratio=0.1), DEVICE, None, ACTIONS) is None


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.8, 0.5, 0.2])
def test_the_proposal_meets_the_budget_by_the_table(given, share):
    model, table, whole_ms = given
    budget = Budget(latency_ms=share * whole_ms)
    policy = MetaCompressor().propose(model, budget, DEVICE, latency=table)
    cut = shares(policy, model)
    assert cut and "head" not in cut
    assert cut.get("a") == cut.get("b")  # joined by the addition
    smaller, report = remove_channels(model, policy, device=DEVICE)
    assert latency_ms(table, describe(smaller)) <= budget.latency_ms * (1 + 1e-6)
    assert not report.left
    final = finalize(compress(model, policy, DEVICE))
    widths = [[i.weight_shape for i in compressible_layers(m)] for m in (final, smaller)]
    assert widths[0] == widths[1]
    assert policy.provenance["channels"] == "prior"
    assert policy.provenance["budget_latency_ms"] == budget.latency_ms


@pytest.mark.slow
def test_an_unreachable_latency_names_the_smallest(given):
    model, table, whole_ms = given
    with pytest.raises(InfeasibleBudgetError, match="smallest latency_ms is") as caught:
        MetaCompressor().propose(model, Budget(latency_ms=OVERHEAD_MS), DEVICE, latency=table)
    least_ms = caught.value.smallest["latency_ms"]
    assert OVERHEAD_MS < least_ms < 0.3 * whole_ms
    reached = Budget(latency_ms=1.001 * least_ms)
    assert shares(MetaCompressor().propose(model, reached, DEVICE, latency=table), model)


@pytest.mark.slow
def test_ratios_keep_their_meaning_when_channels_go(given):
    model, table, whole_ms = given
    both = Budget(latency_ms=0.5 * whole_ms, size_ratio=0.5, macs_ratio=0.9)
    found = narrow_to_latency(model, both, DEVICE, table, ACTIONS)
    before, after = (sum(i.macs for i in describe(m)) for m in (model, found.model))
    assert found.budget.macs_ratio == pytest.approx(min(0.9 * before / after, 1.0))
    assert found.budget.size_ratio is None
    float_bytes = 4 * sum(i.num_weights for i in compressible_layers(model))
    assert found.budget.size_bytes == pytest.approx(0.5 * float_bytes, rel=0.3)
    assert shares(MetaCompressor().propose(model, both, DEVICE, latency=table), model)


@pytest.mark.slow
def test_adapt_proposes_within_the_latency_too(given):
    model, table, whole_ms = given
    rng = np.random.default_rng(0)
    data = rng.normal(size=(32, 8, 8, 3)).astype("float32"), np.arange(32) % 5
    budget = Budget(latency_ms=0.5 * whole_ms)
    loss = "sparse_categorical_crossentropy"
    task = Task(model, budget, DEVICE, support=data, loss=loss, latency=table)
    compressor = MetaCompressor()
    found = compressor.adapt(task, inner_steps=1)
    assert shares(found.policy, model)
    assert found.compressor.actions == compressor.actions
    model.compile(loss=loss)
    told = compressor.propose(model, budget, DEVICE, support=data, latency=table)
    assert shares(told, model) == shares(found.policy, model)
    smaller, _ = remove_channels(model, found.policy, device=DEVICE)
    assert latency_ms(table, describe(smaller)) <= budget.latency_ms * (1 + 1e-6)


def test_what_is_missing_is_named(given):
    model, table, whole_ms = given
    budget = Budget(latency_ms=0.5 * whole_ms)
    with pytest.raises(ArgumentTypeError, match="LatencyTable"):
        MetaCompressor().propose(model, budget, DEVICE)
    empty = LatencyTable({}, device="d", runtime="r")
    with pytest.raises(InvalidArgumentError, match="has no layer 'Conv2D"):
        MetaCompressor().propose(model, budget, DEVICE, latency=empty)
    with pytest.raises(InvalidArgumentError, match="action of sparsity 0"):
        narrow_to_latency(model, budget, DEVICE, table, (Action(0.5, 8),))


@pytest.mark.slow
def test_the_exported_file_meets_it_as_measured(tmp_path):
    """Ratio of two files in turns; on any device a quarter of this net's work saves a third."""
    model = net(size=16, filters=128)
    table = measure_latencies(model, actions=ACTIONS, cache=tmp_path, quiet=True)
    infos = compressible_layers(model)
    whole_ms = table.overhead_ms + sum(table.lookup(i, Action()) for i in infos)
    budget = Budget(latency_ms=0.5 * whole_ms)
    policy = MetaCompressor().propose(model, budget, DEVICE, latency=table)
    smaller, _ = remove_channels(model, policy, device=DEVICE)
    x = np.random.default_rng(0).normal(size=(16, 16, 16, 3)).astype("float32")
    files = [tmp_path / "whole.tflite", tmp_path / "narrow.tflite"]
    for one, file in zip((model, smaller), files, strict=True):
        export_litert(one, file, mode="int8", representative_dataset=x, tolerance=1e9)
    timed = compare(files).files[1]
    error = sum(table.errors[layer_key(i), Action()] for i in infos) / whole_ms
    assert timed.ratio_low <= 0.5 + 0.1 + error
    assert timed.ratio < 1 / 1.5
