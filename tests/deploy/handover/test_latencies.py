"""Latencies on the page: of this file only, each called what it is."""

import json

import pytest

from tests.deploy.handover.small_files import classifier
from tf_metacompress.deploy import BenchmarkResult, bundle_android
from tf_metacompress.deploy.handover.latencies import latency_table, read_latency
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.deploy.reported_runs import ReportedRuns
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError

HASH = "ab" * 32


def result(device="host", architecture="x86_64", cpu="Xeon", sha256=HASH, reported=None):
    machine = Machine(
        cpu=cpu, architecture=architecture, cores=2, system="Linux", python=None, litert="2.3.0"
    )
    return BenchmarkResult(
        path="m.tflite",
        sha256=sha256,
        file_bytes=1,
        device=device,
        machine=machine,
        num_threads=4,
        delegation=None,
        init_ms=None,
        warmup_ms=(),
        runs_ms=() if reported else (1.0, 2.0),
        p50_ms=None if reported else 1.5,
        p90_ms=None if reported else 1.9,
        p95_ms=None,
        min_ms=None,
        reported=reported,
    )


def row(tmp_path, **changes):
    path = tmp_path / "latency.json"
    result(**changes).save(path)
    return read_latency(path, {HASH})


@pytest.mark.parametrize(
    ("device", "architecture", "cpu", "where"),
    [
        ("android:R58M", "arm64-v8a", "Pixel", "on-device"),
        ("ssh:pi@board", "aarch64", "Cortex-A76", "on-device"),
        ("host", "x86_64", "Xeon", "development machine"),
        ("host", "aarch64", "Graviton", "development machine"),
        ("ssh:server", "x86_64", "Xeon", "development machine"),
        ("android:emulator-5554", "arm64-v8a", "sdk_gphone", "emulated"),
        ("ssh:vm", "aarch64", "QEMU Virtual CPU", "emulated"),
    ],
)
def test_only_a_phone_or_board_is_called_on_device(tmp_path, device, architecture, cpu, where):
    told = row(tmp_path, device=device, architecture=architecture, cpu=cpu)
    assert told.where.startswith(where)
    assert ("on-device" in latency_table([told])) is (where == "on-device")


def test_figures_of_different_machines_carry_a_line_that_says_so(tmp_path):
    reported = ReportedRuns(mean_ms=3.25, num_runs=50)
    host = row(tmp_path)
    phone = row(tmp_path, device="android:1", architecture="arm64-v8a", cpu="P", reported=reported)
    assert "different machines" in latency_table([host, phone])
    assert "different machines" not in latency_table([phone, phone])
    assert "| – | – | 3.250 ms | 50 | 4 | 2.3.0 |" in latency_table([phone])
    assert "| 1.500 ms | 1.900 ms | – | 2 | 4 | 2.3.0 |" in latency_table([host])
    assert latency_table([]).startswith("Not measured")


def test_another_file_and_no_result_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="this very file"):
        row(tmp_path, sha256="cd" * 32)
    path = tmp_path / "x.json"
    good = json.loads(result().to_json())
    for text in ("", "[]", "{}", "null", json.dumps({**good, "p50_ms": "1"}), '{"a": NaN}'):
        path.write_text(text)
        with pytest.raises(CorruptFileError, match="benchmark --json"):
            read_latency(path, {HASH})


@pytest.mark.slow
def test_the_page_shows_what_was_measured_with_or_without_metadata(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(classifier().packed())
    first = bundle_android(path, tmp_path / "a")
    result(device="android:1", architecture="arm64-v8a", sha256=first.sha256).save(
        tmp_path / "p.json"
    )
    bundle_android(path, tmp_path / "b", benchmarks=[tmp_path / "p.json"])
    assert "| on-device | 1.500 ms |" in (tmp_path / "b/README.md").read_text("utf-8")
