"""Latency tables: lookups that say what is missing, and strict files."""

import json

import pytest

from tests.policy.layers import layer
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
)
from tf_metacompress.policy import Action, LatencyTable, layer_key

HEAD = layer("head", shape=(64, 10), output_shape=(None, 10))
CONV = layer("conv", "Conv2D", (3, 3, 1, 8), output_shape=(None, 28, None, 8))


def table(**fields):
    entries = {(layer_key(HEAD), Action()): 0.5, (layer_key(CONV), Action(0.5, 4)): 2}
    return LatencyTable(**{"entries": entries, "device": "pixel", "runtime": "litert", **fields})


def test_the_key_names_kind_kernel_and_output():
    assert layer_key(HEAD) == "Dense 64x10 -> 10"
    assert layer_key(CONV) == "Conv2D 3x3x1x8 -> 28x?x8"


def test_lookups_are_a_mapping():
    latencies = table()
    assert latencies.lookup(CONV, Action(0.5, 4)) == 2.0
    assert latencies[layer_key(HEAD), Action()] == 0.5
    assert len(latencies) == len(list(latencies)) == 2
    with pytest.raises(TypeError):
        latencies.entries["x"] = 1.0


def test_a_missing_action_is_named():
    with pytest.raises(
        InvalidArgumentError, match="no such action for 'Dense 64x10 -> 10'.*weight_bits=4"
    ):
        table().lookup(HEAD, Action(weight_bits=4))


def test_a_missing_layer_is_named_with_a_near_one():
    other = layer("h2", shape=(64, 12), output_shape=(None, 12))
    with pytest.raises(
        InvalidArgumentError, match="no layer 'Dense 64x12 -> 12'.*'Dense 64x10 -> 10'"
    ):
        table().lookup(other, Action())


def test_files_make_equal_tables(tmp_path):
    errors = {(layer_key(HEAD), Action()): 0.01}
    latencies = table(num_threads=2, errors=errors, overhead_ms=0.25, border_ms=0.125)
    latencies.save(tmp_path / "t.json")
    assert LatencyTable.load(tmp_path / "t.json") == latencies


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"entries": [1]}, "`entries`"),
        ({"entries": {"head": 1.0}}, "pairs of a layer key and an Action"),
        ({"entries": {("head", 8): 1.0}}, "pairs of a layer key and an Action"),
        ({"entries": {("head", Action()): 0.0}}, "`latency_ms`"),
        ({"device": None}, "`device`"),
        ({"runtime": 3}, "`runtime`"),
        ({"num_threads": 0}, "`num_threads`"),
        ({"overhead_ms": -1.0}, "`overhead_ms`"),
        ({"overhead_ms": float("nan")}, "`overhead_ms`"),
        ({"border_ms": -1.0}, "`border_ms`"),
        ({"errors": {("head", Action()): 0.1}}, "`errors` must map keys of `entries`"),
        ({"errors": {(layer_key(HEAD), Action()): -0.1}}, "`errors`"),
    ],
)
def test_bad_arguments_are_refused(fields, message):
    with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=message):
        table(**fields)


def corrupt(change):
    document = json.loads(table().to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("device"), "lacks the key 'device'"),
        (lambda d: d["entries"][1].pop("layer"), r"entries\[1\] lacks the key 'layer'"),
        (lambda d: d["entries"][0].update(layer=3), r"entries\[0\]: 'layer' must be a string"),
        (lambda d: d["entries"][0].update(latency_ms=-1), r"entries\[0\]: `latency_ms`"),
        (lambda d: d["entries"][0].update(sparsity=2), r"entries\[0\]: `sparsity`"),
        (lambda d: d["entries"][0].update(error_ms=-1), "`errors`"),
        (lambda d: d["entries"].append(d["entries"][0]), "twice"),
        (lambda d: d.update(entries=None), "entries must be a list, not null"),
        (lambda d: d.update(num_threads="1"), "`num_threads`"),
    ],
)
def test_bad_files_are_refused(change, message):
    with pytest.raises(CorruptFileError, match=message):
        LatencyTable.from_json(corrupt(change))
