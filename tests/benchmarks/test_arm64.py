"""The benchmark on emulated arm64: its parts on this host, and all of it where the root is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import arm64
from benchmarks.arm64_sides import compared, models
from tests.deploy.handover.small_files import classifier
from tests.fresh_python import ROOT
from tf_metacompress.deploy.constants import stored_values
from tf_metacompress.deploy.flatreader import read_flatfile

pytestmark = pytest.mark.slow

EMULATED = Path(os.environ.get("ARM64_ROOT", ROOT / "build/arm64")) / "python"
needs_root = pytest.mark.skipif(
    not EMULATED.is_file(), reason="no emulated arm64: benchmarks/arm64_root.sh makes build/arm64"
)


def with_parts(monkeypatch):
    """`arm64` adds its folder to the path; here its parts are those imported above."""
    monkeypatch.setitem(sys.modules, "arm64_sides.compared", compared)
    monkeypatch.setitem(sys.modules, "arm64_sides.models", models)


@pytest.fixture
def files(monkeypatch):
    with_parts(monkeypatch)
    return {"dense": classifier(softmax=True).packed(), "float": classifier("float32").packed()}


def test_both_sides_are_run_on_the_same_samples(files):
    rows, machines = arm64.on_both(files, sys.executable, blocks=3, runs=2)
    assert [row["file"] for row in rows] == ["dense", "float"]
    for row in rows:
        (output,) = row["outputs"]
        assert (output["equal_share"], output["agreement"]) == (1.0, 1.0)
        assert len(row["emulated_cpu_ms"]) == len(row["host_cpu_ms"]) == 3
    assert machines["host"] == machines["emulated"]


@needs_root
def test_int8_results_of_arm_kernels_are_those_of_the_host(files):
    rows, machines = arm64.on_both(files | models.int8_files(), EMULATED)
    assert machines["emulated"]["architecture"] == "aarch64"
    assert "emulated" in machines["emulated"]["cpu"]
    for row in rows:
        for output in row["outputs"]:
            assert output["relative_error"] < 1e-6, row["file"]
            assert output["agreement"] == 1.0


@needs_root
def test_the_sparse_path_begins_above_two_thirds_of_zeros(files):
    nets = {
        f"{zeros} {encoded}": models.pointwise_file(zeros, encoded)
        for zeros in (0.6, 0.75)
        for encoded in (False, True)
    }
    rows, _ = arm64.on_both(nets, EMULATED, blocks=3)
    times = [np.median(row["emulated_cpu_ms"]) for row in rows]
    assert times[1] > 0.7 * times[0]
    assert times[3] < 0.5 * times[2]


@pytest.mark.parametrize("encoded", [False, True])
def test_the_share_of_zeros_and_the_encoding_are_what_is_said(encoded):
    file = read_flatfile(models.pointwise_file(0.75, encoded, width=16, depth=2, side=8))
    held = [tensor for tensor in file.main.tensors if tensor.is_constant]
    kernels = [tensor for tensor in held if tensor.shape == (16, 1, 1, 16)]
    assert [tensor.sparse for tensor in kernels] == [encoded] * 2
    if not encoded:
        assert [np.mean(stored_values(kernel) == 0) for kernel in kernels] == [0.75] * 2


def row(here, there):
    file = read_flatfile(classifier().packed())
    return compared.compared("m", file, [np.int8(here)], [np.int8(there)])


def test_a_difference_is_told():
    (output,) = row([[[7, 9, 8]], [[7, 7, 10]]], [[[7, 8, 9]], [[7, 7, 9]]])["outputs"]
    assert output["equal_share"] == 0.5
    assert output["largest_steps"] == 1.0
    assert output["agreement"] == 0.5
    assert output["relative_error"] == pytest.approx(np.sqrt(3 / 6) / np.sqrt((4 + 1 + 9) / 6))


def test_the_page_calls_no_emulated_time_a_latency():
    times = {"emulated_cpu_ms": [4.0, 2.0, 3.0], "host_cpu_ms": [1.0]}
    found = row([[[7, 9, 8]]], [[[7, 9, 8]]]) | times
    machine = {"litert": "2", "cpu": "x", "architecture": "y"}
    page = compared.markdown(
        {
            "machines": {"host": machine, "emulated": machine},
            "num_samples": 1,
            "parity": [found],
            "cliff": [{"zeros": 0.75, "dense": found, "sparse": found}],
        }
    )
    assert "| m | y, int8 | 100.00% | 0 steps | 0 | 100.0% |" in page
    assert "3.0 (2.0 to 4.0) | 3.0 (2.0 to 4.0) | 1.00 | 1.00 | 0 |" in page
    assert "they are no latency" in page


def test_without_a_root_it_says_how_to_make_one(tmp_path, capsys):
    out = tmp_path / "r.json"
    arm64.main(["--root", str(tmp_path), "--out", str(out)])
    assert "benchmarks/arm64_root.sh" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
class TestRoot:
    """The script that makes the root, without a network."""

    def run(self, tmp_path, **settings):
        folder = tmp_path / "a root"
        done = subprocess.run(
            ["/bin/sh", str(ROOT / "benchmarks/arm64_root.sh"), str(folder)],
            env={"PYTHON": sys.executable, **settings},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, folder

    def test_it_says_what_is_missing(self, tmp_path):
        done, folder = self.run(tmp_path, PATH=str(tmp_path))
        assert done.returncode == 1
        assert "apt install qemu-user-static apt dpkg" in done.stderr
        assert not folder.exists()

    def test_a_failure_leaves_nothing(self, tmp_path):
        if not all(map(shutil.which, ("qemu-aarch64-static", "apt-get", "dpkg-deb"))):
            pytest.skip("qemu-user-static is missing")
        done, folder = self.run(tmp_path, PATH=os.environ["PATH"], MIRROR="http://127.0.0.1:9")
        assert done.returncode != 0
        assert list(tmp_path.iterdir()) == []
