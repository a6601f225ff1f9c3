"""Timing files on this machine. Only ratios that cannot be mistaken are asserted."""

import json
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest

from tf_metacompress.deploy import (
    BenchmarkResult,
    Runs,
    benchmark,
    compare,
    export_litert,
    register_device,
)
from tf_metacompress.deploy.comparison import ratio_interval
from tf_metacompress.deploy.latency import percentiles
from tf_metacompress.deploy.machine import this_machine
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError

layers = keras.layers


@pytest.fixture(scope="module")
def path(exports):
    return exports["int8", "int8"].path


def test_the_result_of_a_benchmark(path, exports, tmp_path):
    result = benchmark(path, num_runs=21, num_warmup=3)
    assert isinstance(result, BenchmarkResult)
    assert (len(result.runs_ms), len(result.warmup_ms)) == (21, 3)
    assert result.p50_ms == sorted(result.runs_ms)[10]
    assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p95_ms
    assert result.init_ms > 0
    assert (result.device, result.num_threads) == ("host", 1)
    assert result.sha256 == exports["int8", "int8"].sha256
    assert result.delegation == exports["int8", "int8"].delegation
    assert result.machine == this_machine()
    with pytest.raises(FrozenInstanceError):
        result.p50_ms = 0.0
    restored = json.loads(result.save(tmp_path / "r.json").read_text())
    assert restored["runs_ms"] == list(result.runs_ms)
    assert restored["machine"]["litert"]
    assert "p50" in str(result)


def test_percentiles_on_paper():
    summary = percentiles([float(value) for value in range(1, 12)])
    assert summary == {"p50_ms": 6.0, "p90_ms": 10.0, "p95_ms": 10.5, "min_ms": 1.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"num_runs": 0},
        {"num_threads": 0},
        {"num_threads": True},
        {"num_warmup": -1},
        {"num_runs": 2.5},
    ],
)
def test_counts_are_checked(path, settings):
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        benchmark(path, **settings)


def test_an_unknown_device_lists_those_that_exist(path):
    with pytest.raises(InvalidArgumentError, match="'host'"):
        benchmark(path, device="hots")
    with pytest.raises(ArgumentTypeError, match="`benchmark` method"):
        benchmark(path, device=3)


class Fake:
    name = "fake"

    def benchmark(self, path, runs):
        return path, runs


def test_a_new_device_is_one_registration(path, monkeypatch):
    monkeypatch.setattr("tf_metacompress.deploy.devices.device._DEVICES", {})
    register_device(Fake())
    expected = (path, Runs(num_threads=2, num_runs=50, num_warmup=5))
    assert benchmark(path, device="fake", num_threads=2) == expected
    assert benchmark(path, device=Fake(), num_threads=2) == expected


@pytest.fixture(scope="module")
def slow_and_fast(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow_and_fast")
    for name, width in (("slow", 48), ("fast", 4)):
        stack = [layers.Conv2D(width, 3, padding="same") for _ in range(3)]
        model = keras.Sequential([keras.Input((28, 28, 1)), *stack, layers.Flatten()])
        export_litert(model, folder / f"{name}.tflite")
    return folder / "slow.tflite", folder / "fast.tflite"


def test_the_faster_file_is_found_and_the_first_has_ratio_one(slow_and_fast, tmp_path):
    result = compare(slow_and_fast, num_blocks=5, runs_per_block=5)
    slow, fast = result.files
    assert (slow.ratio, slow.ratio_low, slow.ratio_high) == (1.0, 1.0, 1.0)
    assert fast.ratio < 1 / 1.5
    assert fast.ratio_low <= fast.ratio <= fast.ratio_high
    assert len(fast.blocks_ms) == 5
    assert fast.file_bytes < slow.file_bytes
    restored = json.loads(result.save(tmp_path / "c.json").read_text())
    assert [file["path"] for file in restored["files"]] == [str(path) for path in slow_and_fast]
    assert len(str(result).splitlines()) == 3


def test_a_file_compared_with_itself_is_its_equal(slow_and_fast):
    result = compare([slow_and_fast[0]] * 2, num_blocks=9, runs_per_block=3)
    assert 1 / 1.5 < result.files[1].ratio < 1.5


def test_the_interval_is_reproducible_and_holds_the_median():
    ratios = np.random.default_rng(0).lognormal(0, 0.1, 9)
    low, high = ratio_interval(ratios)
    assert (low, high) == ratio_interval(ratios)
    assert ratios.min() <= low <= np.median(ratios) <= high <= ratios.max()


@pytest.mark.parametrize(
    ("paths", "settings", "message"),
    [
        (["a"], {}, "at least two"),
        ("ab", {}, "at least two"),
        (["a", "b"], {"num_blocks": 2}, "num_blocks"),
        (["a", "b"], {"runs_per_block": 0}, "runs_per_block"),
        (["a", "b"], {"num_threads": 0}, "num_threads"),
        (["a", "b"], {}, "No such file"),
    ],
)
def test_bad_comparisons_are_refused(paths, settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        compare(paths, **settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("model name\t: Chip 9\nflags: a", "Chip 9"), ("Model\t\t: Pi 4", "Pi 4"), ("", None)],
)
def test_the_processor_is_read_from_cpuinfo(text, expected, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text(text)
    monkeypatch.setattr("tf_metacompress.deploy.machine._CPU_INFO", info)
    assert this_machine().cpu == expected or expected is None
    assert this_machine().cores >= 1
