"""Latencies of layers on a device whose clock is known, and on this host."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.policy.layers import layer
from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.deploy import (
    BenchmarkResult,
    LitertModel,
    latency_whole,
    measure_latencies,
)
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.latency_cache import LatencyCache
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    DeviceError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.policy import Action, LayerInfo, layer_key

INT8, FLOAT = Action(), Action(weight_bits=32)
HEAD = layer("head", shape=(6, 4), output_shape=(None, 4))
CONV = layer("conv", "Conv2D", (3, 3, 2, 4), output_shape=(None, 5, 5, 4))
DEPTHWISE = layer("dw", "DepthwiseConv2D", (3, 3, 4, 1), output_shape=(None, 5, 5, 4))


class Clockwork:
    """Every inference takes 1 ms and 0.05 ms an output, a tenth of that in int8."""

    name = "clockwork"

    def __init__(self, summary_only=False, dies_after=None):
        self.count, self.summary_only, self.dies_after = 0, summary_only, dies_after

    def benchmark(self, path, runs):
        self.count += 1
        if self.count == self.dies_after:
            raise DeviceError("It went away.", reason="gone")
        model = LitertModel.open(path, trusted=True)
        detail = model.input_detail(model.input_names[0])
        each_ms = 0.005 if detail["dtype"] == np.int8 else 0.05
        typical_ms = 1.0 + each_ms * len(model.output_names)
        return result(runs.num_threads, None if self.summary_only else typical_ms)


class OpByOp(Clockwork):
    """Every inference takes 1 ms, and each operator its own time; conversions take 0.02 ms."""

    def benchmark(self, path, runs):
        file = read_flatfile(Path(path).read_bytes(), str(path))
        each_ms = {"QUANTIZE": 0.02, "DEQUANTIZE": 0.02}
        tensors = file.main.tensors
        typical_ms = 1.0
        for op in file.main.ops:
            integer = tensors[op.outputs[0]].type == "int8"
            typical_ms += each_ms.get(op.name, 0.1 if integer else 0.3)
        return result(runs.num_threads, typical_ms)


def result(num_threads=1, p50_ms=1.0, cpu="cogs"):
    return BenchmarkResult(
        path="",
        sha256="",
        file_bytes=1,
        device="clockwork",
        machine=Machine(cpu=cpu, architecture="brass", cores=1, system="", python=None, litert="9"),
        num_threads=num_threads,
        delegation=None,
        init_ms=None,
        warmup_ms=(),
        runs_ms=(),
        p50_ms=p50_ms,
        p90_ms=None,
        p95_ms=None,
        min_ms=None,
    )


def measure(infos, tmp_path, device=None, **options):
    options = {"quiet": True, "cache": tmp_path, "actions": [INT8, FLOAT], **options}
    return measure_latencies(infos, device=device or Clockwork(), **options)


@pytest.mark.slow
def test_the_call_cancels_and_forms_are_told_apart(tmp_path):
    table = measure([HEAD, CONV, DEPTHWISE, CONV], tmp_path)
    assert len(table) == 6
    for info in (HEAD, CONV, DEPTHWISE):
        assert table.lookup(info, INT8) == pytest.approx(0.005)
        assert table.lookup(info, FLOAT) == pytest.approx(0.05)
        assert table.errors[layer_key(info), FLOAT] < 1e-9
    assert table.device == "clockwork: cogs, brass"
    assert (table.runtime, table.overhead_ms) == ("LiteRT 9", 0.0)


@pytest.mark.slow
def test_a_run_that_was_ended_goes_on_where_it_stopped(tmp_path):
    whole = Clockwork()
    expected = measure([HEAD, CONV], tmp_path / "whole", whole)
    dying = Clockwork(dies_after=whole.count - 2)
    with pytest.raises(DeviceError):
        measure([HEAD, CONV], tmp_path / "cut", dying)
    again = Clockwork()
    assert measure([HEAD, CONV], tmp_path / "cut", again) == expected
    assert again.count < whole.count
    last = Clockwork()
    assert measure([CONV], tmp_path / "cut", last).entries.keys() == {
        (layer_key(CONV), INT8),
        (layer_key(CONV), FLOAT),
    }
    assert last.count == 1  # only to know the device


@pytest.mark.slow
def test_a_device_that_tells_nothing_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match="clockwork told no latency"):
        measure([HEAD], tmp_path, Clockwork(summary_only=True))


def test_what_cannot_be_timed_alone_is_named_before_any_work(tmp_path):
    device = Clockwork()
    unknown = LayerInfo(name="odd", kind="LSTM", kernels=HEAD.kernels, output_shape=(None, 4))
    open_ended = dataclasses.replace(CONV, name="open", output_shape=(None, None, 5, 4))
    with pytest.raises(UnsupportedModelError, match=r"\['odd', 'open'\]"):
        measure([HEAD, unknown, open_ended], tmp_path, device)
    assert device.count == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"actions": [Action(0.5)]}, InvalidArgumentError, "without zeros"),
        ({"actions": [8]}, ArgumentTypeError, "must be an Action"),
        ({"actions": []}, InvalidArgumentError, "must not be empty"),
        ({"widths": [0.0]}, InvalidArgumentError, r"\(0, 1\]"),
        ({"widths": [1.5]}, InvalidArgumentError, "widths"),
        ({"num_threads": 0}, InvalidArgumentError, "num_threads"),
        ({"device": "moon"}, InvalidArgumentError, "`device`"),
    ],
)
def test_bad_arguments_are_refused(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        measure([HEAD], tmp_path, **options)


def test_each_device_has_a_cache_of_its_own(tmp_path):
    entry = layer_key(HEAD), INT8
    LatencyCache(tmp_path, result()).add({entry: 0.5}, {entry: 0.1})
    LatencyCache(tmp_path, result()).add({(layer_key(CONV), INT8): 0.7}, {})
    again = LatencyCache(tmp_path, result()).table
    assert (again[entry], again.errors[entry], len(again)) == (0.5, 0.1, 2)
    assert len(LatencyCache(tmp_path, result(num_threads=2)).table) == 0
    assert len(LatencyCache(tmp_path, result(cpu="springs")).table) == 0


def test_a_damaged_cache_is_named(tmp_path):
    kept = LatencyCache(tmp_path, result())
    kept.add({(layer_key(HEAD), INT8): 0.5}, {})
    kept.path.write_text(kept.path.read_text()[:-20])
    with pytest.raises(CorruptFileError, match=f"{kept.path.name}.*Delete it"):
        LatencyCache(tmp_path, result())


@pytest.mark.slow
@pytest.mark.parametrize("actions", [[INT8, FLOAT], [FLOAT, INT8]])
def test_a_border_costs_what_its_conversion_does(actions, tmp_path):
    parts = [keras.layers.Conv2D(4, 3, padding="same", activation="relu") for _ in range(4)]
    model = keras.Sequential([keras.Input((6, 6, 4)), *parts])
    infos = compressible_layers(model)
    options = {"device": OpByOp(), "actions": actions, "widths": [1.0]}
    table = measure(model, tmp_path, **options)
    assert table.border_ms == pytest.approx(0.02)
    assert table.overhead_ms == pytest.approx(1.0)
    assert table.model_ms(infos, [INT8] * 4) == pytest.approx(1.0 + 4 * 0.1 + 2 * 0.02)
    assert table.model_ms(infos, [FLOAT] * 4) == pytest.approx(1.0 + 4 * 0.3)
    mixed = table.model_ms(infos, [FLOAT, INT8, INT8, FLOAT])
    assert mixed == pytest.approx(1.0 + 2 * 0.1 + 2 * 0.3 + 2 * 0.02)
    alone = measure(model, tmp_path, device=OpByOp(), actions=[INT8], widths=[1.0])
    assert (alone.border_ms, alone.overhead_ms) == (0.0, pytest.approx(1.0 + 2 * 0.02))


def test_a_model_that_cannot_hold_both_formats_is_refused(monkeypatch):
    def refuse(*_):
        raise ValueError("no kernel\n for this.")

    source = SimpleNamespace(file=None, mapped=(), conversion=SimpleNamespace(data=b""))
    monkeypatch.setattr(latency_whole, "op_formats", lambda *_: {})
    monkeypatch.setattr(latency_whole, "get_mode", lambda name: SimpleNamespace(quantize=refuse))
    with pytest.raises(UnsupportedModelError, match=r"no kernel for this\. Give `actions`"):
        latency_whole._mixed(source, [], [])


@pytest.mark.slow
def test_layers_add_up_to_the_model_on_this_host(tmp_path):
    inputs = keras.Input((16, 16, 32))
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(x)
    outputs = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    table = measure_latencies(model, actions=[FLOAT], widths=[1.0], cache=tmp_path, quiet=True)
    layers_ms = sum(table.lookup(info, FLOAT) for info in compressible_layers(model))
    assert table.overhead_ms < 0.5 * layers_ms
    assert {len(table), len(json.loads(table.to_json())["entries"])} == {3}
