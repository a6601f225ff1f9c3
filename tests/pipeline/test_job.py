"""`compress_file` from a model and data on disk to checked files."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.pipeline.jobs import (
    SETTINGS,
    Job,
    Timings,
    leave_out_training_and_timing,
    save_data,
    save_model,
    save_policy,
)
from tf_metacompress.deploy import LitertModel
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    ParityError,
    UnsupportedModelError,
)
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline import JobSettings, candidates, compress_file, load_npz
from tf_metacompress.policy import Policy

STAGES = ["int8-trial", "policy", "row-float32", "row-int8-alone", "row-compressed", "latency"]
OUTPUTS = {
    "model_float32.tflite",
    "model_int8.tflite",
    "policy.json",
    "policy.png",
    "report.json",
}


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job that neither trains nor times."""
    leave_out_training_and_timing(monkeypatch)
    return Job(tmp_path)


def test_a_budget_ends_in_files_that_do_what_the_report_says(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "compare", Timings)
    job = Job(tmp_path)
    outcome = job.run(SETTINGS)
    assert job.began() == STAGES
    assert job.files().keys() == OUTPUTS
    report = json.loads((job.out / "report.json").read_text())
    row = report["table"][2]
    assert (row["name"], report["chosen"]) == ("compressed", "compressed")
    data = load_npz(job.data)
    predictions = LitertModel.open(job.out / "model_int8.tflite").predict(data.test[0])
    assert np.mean(predictions.argmax(-1) == data.test[1]) == row["accuracy"]
    assert row["gzip_bytes"] <= 0.55 * report["table"][0]["gzip_bytes"]
    assert Policy.load(job.out / "policy.json") == outcome.policy
    assert outcome.policy.name == "phi-adapted"
    before = job.files()
    job.run(SETTINGS)
    assert job.began() == []
    assert job.files() == before


@pytest.mark.parametrize(
    "stage",
    ["row-compressed", *(pytest.param(s, marks=pytest.mark.slow) for s in ("policy", "latency"))],
)
def test_an_interrupted_job_leaves_earlier_files_whole_and_goes_on(job, stage):
    job.out.mkdir()
    (job.out / "report.json").write_text("the earlier report")
    (job.out / ".model_int8.0123456789ab.tmp.tflite").write_text("half")
    with pytest.raises(KeyboardInterrupt):
        job.run(stop_at=stage)
    assert job.files().keys() >= {"report.json"}
    assert (job.out / "report.json").read_text() == "the earlier report"
    job.run()
    assert job.began() == STAGES[STAGES.index(stage) :]
    assert job.files().keys() == OUTPUTS
    assert not list(job.out.rglob(".*.tmp*"))


@pytest.mark.slow
def test_a_job_in_two_parts_ends_with_the_table_of_one_in_one_part(job, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        job.run(stop_at="row-compressed")
    in_two = job.run()
    job.out = tmp_path / "other"
    assert job.run().rows == in_two.rows


@pytest.mark.slow
def test_a_damaged_stage_is_made_again_and_said(job):
    job.run()
    path = next((job.out / "stages").glob("*/compressed.tflite"))
    path.write_bytes(path.read_bytes()[:100])
    job.run()
    assert job.began() == ["row-compressed"] or job.began() == ["row-compressed", "latency"]
    assert "row-compressed … again: compressed.tflite of the earlier run is missing or damaged" in (
        job.lines
    )


@pytest.mark.parametrize("what", ["settings", "policy", "model", "data"])
@pytest.mark.slow
def test_other_inputs_are_another_run(job, what):
    with pytest.raises(KeyboardInterrupt):
        job.run(stop_at="row-float32")
    changes = {
        "settings": lambda: None,
        "policy": lambda: save_policy(job.policy, pattern="hidden"),
        "model": lambda: save_model(job.model, keras.layers.Dropout(0.1)),
        "data": lambda: save_data(job.data, count=24),
    }
    changes[what]()
    settings = job.by_hand(tuning_steps=1) if what == "settings" else job.by_hand()
    with pytest.raises(KeyboardInterrupt):
        job.run(settings, stop_at="policy")


@pytest.mark.slow
def test_a_layer_of_unknown_kind_is_reported(tmp_path, monkeypatch):
    leave_out_training_and_timing(monkeypatch)
    job = Job(tmp_path, keras.layers.UnitNormalization(), keras.layers.LayerNormalization(name="n"))
    job.run()
    assert any(line.startswith("not compressed: n (LayerNormalization)") for line in job.lines)
    report = json.loads((job.out / "report.json").read_text())
    assert "n (LayerNormalization)" in report["not_compressed"][0]


def test_a_file_that_fails_the_parity_gate_is_not_shipped(job, monkeypatch):
    job.out.mkdir()
    (job.out / "model_int8.tflite").write_text("the earlier file")
    before = job.files()
    original = candidates.export_litert

    def worse(model, path, **options):
        report = original(model, path, **options)
        (output,) = report.parity.outputs
        parity = replace(report.parity, outputs=(replace(output, relative_error=0.9),))
        return replace(report, parity=parity) if options["mode"] == "int8" else report

    monkeypatch.setattr(candidates, "export_litert", worse)
    with pytest.raises(ParityError, match="'compressed' does not compute.*0.9.*kept for insp"):
        job.run(job.by_hand(tuning_steps=1))
    assert job.files() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "either a size ratio or a policy"),
        ({"size_ratio": 0.1, "policy": "p.json"}, "either a size ratio or a policy"),
        ({"size_ratio": 0.0}, "size_ratio"),
        ({"size_ratio": 1.5}, r"\(0, 1\]"),
        ({"size_ratio": float("nan")}, "size_ratio"),
        ({"size_ratio": "0.1"}, "size_ratio"),
        ({"size_ratio": 0.1, "device": "android-arm"}, "Did you mean 'android-arm64'"),
        ({"size_ratio": 0.1, "tuning_steps": 0}, "tuning_steps"),
        ({"size_ratio": 0.1, "inner_steps": 1.5}, "inner_steps"),
        ({"size_ratio": 0.1, "learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        JobSettings(**changes)


def test_an_unreachable_budget_says_the_smallest(job):
    with pytest.raises(InfeasibleBudgetError, match="smallest size_bytes is") as caught:
        job.run(JobSettings(size_ratio=0.001))
    assert caught.value.smallest["size_bytes"] > 100
    assert not job.files()


def test_a_policy_for_another_model_is_refused_before_training(job):
    save_policy(job.policy, pattern="hiden")
    with pytest.raises(InvalidArgumentError, match="hidden"):
        job.run()
    assert job.began() == ["int8-trial", "policy"]


def test_damaged_and_missing_files_are_named(job, tmp_path):
    (tmp_path / "phi.npz").write_bytes(b"damaged")
    job.policy.write_text('{"schema_version": 1, "rules": [{"pattern": "*", "sparsity": 7}]}')
    with pytest.raises(CorruptFileError):
        job.run()
    with pytest.raises(CorruptFileError, match="MetaCompressor"):
        job.run(replace(SETTINGS, phi=str(tmp_path / "phi.npz")))
    with pytest.raises(InvalidArgumentError, match="no such file.*none.npz"):
        job.run(replace(SETTINGS, phi=str(tmp_path / "none.npz")))


def test_a_model_with_nothing_to_compress_is_refused(job):
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(job.model)
    with pytest.raises(UnsupportedModelError, match="nothing to compress"):
        job.run()


def test_a_model_that_int8_cannot_express_is_refused_before_training(tmp_path):
    job = Job(tmp_path, keras.layers.Reshape((8, 8)), keras.layers.LSTM(4, unroll=True))
    with pytest.raises(UnsupportedModelError, match="unroll=False"):
        job.run()
    assert job.began() == ["int8-trial"]


@pytest.mark.slow
def test_a_learned_compressor_is_used(job, tmp_path):
    MetaCompressor(seed=1).save(tmp_path / "phi.npz")
    with pytest.raises(KeyboardInterrupt):
        job.run(replace(SETTINGS, phi=str(tmp_path / "phi.npz")), stop_at="row-float32")
    assert job.began() == ["int8-trial", "policy", "row-float32"]


def test_other_objects_are_refused(job):
    with pytest.raises(ArgumentTypeError, match="must be a Dataset.*load_npz"):
        compress_file(job.model, str(job.data), job.out, job.by_hand())
