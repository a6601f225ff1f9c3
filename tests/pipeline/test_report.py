"""What a run says at its end."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image

from tests.pipeline.results import BASELINE, CHOSEN, layer, outcome
from tf_metacompress.errors import ParityError
from tf_metacompress.pipeline import Dataset, format_outcome
from tf_metacompress.pipeline.findings import left_alone, not_gained
from tf_metacompress.pipeline.phi_card import Phi
from tf_metacompress.pipeline.report import publish
from tf_metacompress.pipeline.stages import Stages
from tf_metacompress.pipeline.table import WIDTH
from tf_metacompress.policy import Policy


def said(**changes):
    return " ".join(not_gained(outcome(**changes)))


def test_the_least_that_is_said_is_where_it_was_timed():
    sentences = not_gained(outcome(chosen=replace(CHOSEN, file_bytes=10_000)))
    assert len(sentences) == 1
    assert "android-arm64" in sentences[0] and "A Processor" in sentences[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chosen": replace(CHOSEN, gzip_bytes=9_900)}, "0.1100 of float32's gzip size, not 0.1."),
        ({"chosen": replace(CHOSEN, accuracy=0.9875)}, "0.25 points less .* 1 of 400 test"),
        ({"baseline": replace(BASELINE, accuracy=0.99)}, "Accuracy over LAMP . int8"),
        ({"ratios": (1.0, 1.2, 1.0)}, r"Time against float32: p50 is 1.00 .*0.98, 1.02"),
        ({"ratios": (1.0, 0.3, 0.6)}, "Time against LAMP . int8: p50 is 0.60 .* there 0.30"),
        ({}, "Flash as much as download: the file is 29.3 KiB, 0.300 .* against 0.100 after gzip"),
        ({"chosen": replace(CHOSEN, warnings=("Zeros do nothing.",))}, "Zeros do nothing."),
    ],
)
def test_what_was_not_gained_is_said(changes, sentence):
    assert re.search(sentence, said(**changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"chosen": replace(CHOSEN, gzip_bytes=9_000)}, "The budget"),
        ({"chosen": replace(CHOSEN, gzip_bytes=20_000), "size_ratio": None}, "The budget"),
        ({"baseline": replace(BASELINE, accuracy=0.99, gzip_bytes=18_000)}, "Accuracy over"),
        ({"ratios": (1.0, 0.5, 0.51)}, "Time against"),
        ({"chosen": replace(CHOSEN, accuracy=1.0)}, "All of the accuracy"),
    ],
)
def test_nothing_is_said_of_what_was_gained(changes, word):
    assert word not in said(**changes)


def test_layers_of_an_unknown_kind_are_named_and_batch_norm_is_not():
    infos = [
        layer("hidden", num_params=1000),
        layer("rnn", "LSTM", compressible=False, num_params=2000),
        layer("bn", "BatchNormalization", compressible=False),
        layer("drop", "Dropout", compressible=False, num_params=0),
    ]
    (sentence,) = left_alone(infos)
    assert "rnn (LSTM)" in sentence and "2,000 of 3,100 weights" in sentence
    assert "bn" not in sentence and "drop" not in sentence
    assert left_alone(infos[:1]) == ()
    assert "Not compressed:\n  - rnn (LSTM)" in format_outcome(outcome(infos=tuple(infos)))


def test_the_table_has_a_line_a_row_and_fits_the_page():
    long = replace(CHOSEN, warnings=("word " * 60,), name="global magnitude + int8")
    text = format_outcome(outcome(chosen=long))
    assert max(map(len, text.splitlines())) <= WIDTH
    lines = [line.split() for line in text.splitlines()]
    assert lines[4][:7] == ["float32", "0.9900", "97.7", "87.9", "1.000", "0.000", "32.0"]
    assert lines[6][-8:] == ["0.9900", "29.3", "8.8", "0.100", "0.800", "8.0", "0.50", "5.0e-02"]


def test_a_file_that_fails_the_parity_gate_is_marked():
    text = format_outcome(outcome(baseline=replace(BASELINE, relative_error=0.4)))
    assert "5.0e-02!" in text
    assert "! LAMP + int8 does not compute what Keras computes: relative error 0.4" in text


PHI = Phi(
    summary="Learned from 9 models.",
    meta_steps=70,
    sha256="0123456789abcdef",
    held_out={"families": ["one", "two"], "ratios": [0.25], "sources": []},
)


def test_the_phi_that_proposed_is_named_with_what_it_has_not_seen():
    text = format_outcome(outcome(phi=PHI))
    assert "Learned from 9 models. 70 meta-steps, sha256 0123456789ab…" in text
    assert "Kept from it while it learned: families one, two; ratios 0.25." in text
    untrained = replace(PHI, held_out=[])
    assert len(untrained.sentences()) == 1
    assert "Φ that proposed" not in format_outcome(outcome())


@pytest.fixture
def published(tmp_path):
    """Publishes an outcome into a folder."""
    stages = Stages(tmp_path / "stages", {}, lambda line: None)
    stages.data("work", lambda: 1)
    stages.path(CHOSEN.file).write_bytes(b"the file")
    x, y = np.zeros((2, 4, 4, 1), "float32"), np.array([0, 1])

    def publish_it(result):
        files = {"model_int8.tflite": CHOSEN.file}
        publish(result, tmp_path, files, stages, {"seed": 3}, Dataset("tiny", (x, y), (x, y)))
        return json.loads((tmp_path / "report.json").read_text())

    return publish_it


def test_the_report_has_table_latency_and_provenance(published, tmp_path):
    report = published(outcome(phi=PHI))
    assert report["schema_version"] == 1
    assert report["phi"] == {
        "summary": "Learned from 9 models.",
        "meta_steps": 70,
        "sha256": "0123456789abcdef",
        "held_out": {"families": ["one", "two"], "ratios": [0.25], "sources": []},
    }
    assert [row["name"] for row in report["table"]] == ["float32", "LAMP + int8", "Φ adapted"]
    assert report["table"][2]["p50_ratio"] == 0.5
    assert report["table"][2]["gzip_ratio"] == pytest.approx(0.1)
    assert report["table"][2]["parity_passed"] is True
    assert report["latency"]["machine"] == {"cpu": "A Processor"}
    assert report["not_gained"] == list(not_gained(outcome()))
    provenance = report["provenance"]
    assert provenance["settings"] == {"seed": 3}
    assert provenance["dataset"]["fingerprint"].startswith("tiny-")
    assert provenance["dataset"]["num_test"] == 2
    assert list(provenance["seconds"]) == ["work"]
    assert {"tf_metacompress", "tensorflow", "keras"} <= provenance["versions"].keys()
    assert provenance["machine"]["cores"] >= 1
    assert (tmp_path / provenance["stages"]).is_dir()
    assert str(tmp_path) not in json.dumps(report)


def test_the_other_files_are_whole_and_described(published, tmp_path):
    report = published(outcome())
    assert Policy.load(tmp_path / "policy.json") == outcome().policy
    assert image.imread(tmp_path / "policy.png").shape == (600, 1440, 4)
    assert (tmp_path / "model_int8.tflite").read_bytes() == b"the file"
    for name, entry in report["files"].items():
        data = (tmp_path / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_shipped_file_that_fails_the_gate_is_not_written(published, tmp_path):
    published(outcome())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    bad = outcome(chosen=replace(CHOSEN, relative_error=0.3, accuracy=0.1))
    with pytest.raises(ParityError, match="nothing was written.*0.3, tolerance 0.25") as caught:
        published(bad)
    assert caught.value.report is bad
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
