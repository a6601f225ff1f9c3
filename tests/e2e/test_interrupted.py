"""Processes that are killed or interrupted, and what the next one does."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fresh_python import ROOT
from tests.pipeline.jobs import Job

PATIENCE_S = 120.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def start(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_MININTERVAL": "0"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "tf_metacompress", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def stop_after(process, folder, stage, how):
    """Sends a signal soon after a stage has been noted as finished."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(f'"{stage}"' in p.read_text() for p in folder.glob("stages/*/finished.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def finish(*words):
    process = start(*words)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, ""), err
    return out


def compress(job, out):
    flags = [f"--data={job.data}", f"--policy={job.policy}", f"--out={out}", "--steps=20"]
    return "compress", job.model, *flags


def table(folder):
    return json.loads((folder / "report.json").read_text())["table"]


def without_time(rows):
    return [{**row, "p50_ratio": 0} for row in rows]


def test_compress_goes_on_after_kill_9_and_ends_with_the_same_table(tmp_path):
    job = Job(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model_int8.tflite").write_bytes(b"the earlier file")
    code, _, _ = stop_after(start(*compress(job, out)), out, "row-float32", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert (out / "model_int8.tflite").read_bytes() == b"the earlier file"
    assert [path.name for path in out.iterdir() if path.is_file()] == ["model_int8.tflite"]
    said = finish(*compress(job, out))
    assert "row-float32: taken from the earlier run" in said
    assert "row-compressed …" in said
    assert not list(out.rglob(".*.tmp*"))
    finish(*compress(job, tmp_path / "whole"))
    assert without_time(table(out)) == without_time(table(tmp_path / "whole"))


def test_compress_ends_on_ctrl_c_with_one_line(tmp_path):
    job = Job(tmp_path)
    out = tmp_path / "out"
    code, said, err = stop_after(start(*compress(job, out)), out, "row-float32", signal.SIGINT)
    assert code == 130
    assert err == "tf-metacompress: interrupted; finished stages are kept, run it again to go on.\n"
    assert "row-float32: " in said
    assert [path.name for path in out.iterdir()] == ["stages"]
    assert not list(out.rglob(".*.tmp*"))


def test_the_demo_is_stopped_twice_and_goes_on(tmp_path):
    words = ("demo", f"--out={tmp_path}", "--train-steps=1", "--tuning-steps=1")
    stage = "held-out-mixed"
    code, _, _ = stop_after(start(*words), tmp_path, stage, signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, out, err = stop_after(start(*words), tmp_path, "policy-lamp-int8", signal.SIGINT)
    assert code == 130
    assert f"{stage}: taken from the earlier run" in out
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["stages"]
