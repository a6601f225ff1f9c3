"""The main job from data to files, on a small part of everything."""

import json

import numpy as np
import pytest

from tf_metacompress.deploy import LitertModel
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline import Dataset, DemoSettings, contest, load_dataset, run_demo
from tf_metacompress.policy import Policy

SETTINGS = DemoSettings(size_ratio=0.2, train_steps=120, tuning_steps=30, inner_steps=1)
NAMES = (
    "uniform + int8",
    "global magnitude + int8",
    "LAMP + int8",
    "ERK + int8",
    "Φ zero-shot",
    "Φ adapted",
)
CARRIED_THROUGH = ("LAMP + int8", "Φ adapted")


class Run:
    """The demo in one folder, on fewer images."""

    def __init__(self, folder):
        self.out = folder / "demo"
        digits = load_dataset("digits")
        self.data = Dataset(
            "digits", tuple(a[:640] for a in digits.train), tuple(a[:100] for a in digits.test)
        )
        self.lines = []

    def __call__(self, stop_at=None):
        self.lines = []

        def announce(line):
            self.lines.append(line)
            if stop_at and line.startswith(f"{stop_at} …"):
                raise KeyboardInterrupt

        return run_demo(self.data, self.out, SETTINGS, announce=announce, quiet=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_from_interruption_to_report(tmp_path, monkeypatch):
    find = contest.candidate_policies

    def two_of_them(*args):
        policies = find(*args)
        assert policies.keys() >= set(NAMES)
        return {name: policies[name] for name in CARRIED_THROUGH}

    monkeypatch.setattr(contest, "candidate_policies", two_of_them)
    run = Run(tmp_path)
    for stage in ("held-out-mixed", "policy-phi-adapted", "row-lamp-int8"):
        with pytest.raises(KeyboardInterrupt):
            run(stop_at=stage)
        assert not (run.out / "report.json").exists()
    outcome = run()
    assert "policy-phi-adapted: taken from the earlier run" in run.lines
    check_files(run, outcome)
    before = {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    assert run().rows == outcome.rows
    assert all(line.endswith("taken from the earlier run") for line in run.lines)
    after = {path.name: path.read_bytes() for path in run.out.iterdir() if path.is_file()}
    assert after == before


def check_files(run, outcome):
    report = json.loads((run.out / "report.json").read_text())
    rows = {row["name"]: row for row in report["table"]}
    assert tuple(rows) == ("float32", *CARRIED_THROUGH)
    assert report["chosen"] == contest.ADAPTED
    assert report["files"].keys() == {*contest.OUTPUTS, "policy.json", "policy.png"}
    for name, row in (("float32", rows["float32"]), ("int8", rows["Φ adapted"])):
        predictions = LitertModel.open(run.out / f"model_{name}.tflite").predict(run.data.test[0])
        assert np.mean(predictions.argmax(-1) == run.data.test[1]) == row["accuracy"]
        assert (run.out / f"model_{name}.tflite").stat().st_size == row["file_bytes"]
    assert rows["float32"]["accuracy"] > 0.8
    assert rows["Φ adapted"]["accuracy"] > 0.6
    assert rows["Φ adapted"]["gzip_ratio"] < 1.15 * SETTINGS.size_ratio
    float16 = LitertModel.open(run.out / "model_float16.tflite").predict(run.data.test[0][:5])
    float32 = LitertModel.open(run.out / "model_float32.tflite").predict(run.data.test[0][:5])
    np.testing.assert_allclose(float16, float32, atol=0.01)
    assert Policy.load(run.out / "policy.json") == outcome.policy
    card = MetaCompressor.pretrained().card
    assert report["phi"] == {key: card[key] for key in report["phi"]}
    assert report["phi"].keys() == {"summary", "meta_steps", "sha256", "held_out"}
    seconds = report["provenance"]["seconds"]
    assert {"policy-phi-adapted", "held-out-mixed", "row-phi-adapted", "latency"} <= seconds.keys()
