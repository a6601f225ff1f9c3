"""The parts of the main job that need no training."""

import json

import keras
import numpy as np
import pytest

from tests.pipeline.jobs import leave_out_training_and_timing
from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.errors import ArgumentTypeError, CorruptFileError, InvalidArgumentError
from tf_metacompress.meta import MetaCompressor, pretrained
from tf_metacompress.pipeline import Dataset, DemoSettings, contest, demo, run_demo
from tf_metacompress.pipeline.architectures import HELD_OUT
from tf_metacompress.pipeline.candidates import few_examples, representative, slug
from tf_metacompress.policy import Policy, action_grid

SETTINGS = DemoSettings(size_ratio=0.6, inner_steps=1)


def dataset(shape=(8, 8, 1), count=40, classes=4):
    x = np.random.default_rng(0).random((count, *shape)).astype("float32")
    y = np.arange(count) % classes
    return Dataset("tiny", (x, y), (x[:8], y[:8]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_ratio": 0.0}, "size_ratio"),
        ({"size_ratio": 1.1}, "size_ratio"),
        ({"device": "androd-arm64"}, "Did you mean 'android-arm64'"),
        ({"train_steps": 0}, "train_steps"),
        ({"tuning_steps": 2.5}, "tuning_steps"),
        ({"inner_steps": True}, "inner_steps"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        DemoSettings(**changes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset((12,)), "image classifiers"),
        (dataset((8, 8)), "add a last axis"),
        (dataset(classes=1), "at least two classes"),
        (Dataset("gap", *[(np.zeros((4, 8, 8, 1)), np.array([0, 1, 0, 10**6]))] * 2), "gaps"),
    ],
)
def test_data_that_the_demo_cannot_train_on_are_refused(tmp_path, data, message):
    with pytest.raises(InvalidArgumentError, match=message):
        run_demo(data, tmp_path / "out", DemoSettings())
    assert not (tmp_path / "out").exists()


def test_other_objects_and_folders_below_files_are_refused(tmp_path):
    with pytest.raises(ArgumentTypeError, match="must be a Dataset"):
        run_demo("digits", tmp_path, DemoSettings())
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidArgumentError, match="Cannot write here"):
        run_demo(dataset(), tmp_path / "file" / "out", DemoSettings())


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_the_architecture_can_be_built_for_the_data_sets(shape):
    model = HELD_OUT[1](shape, 10)
    assert model.output_shape == (None, 10)
    kinds = {info.kind for info in compressible_layers(model)}
    assert {"Conv2D", "DepthwiseConv2D", "Dense"} <= kinds


def test_names_of_rows_become_plain_file_names():
    assert slug("Φ zero-shot") == "phi-zero-shot"
    assert slug("LAMP + int8") == "lamp-int8"


def test_samples_are_few_and_of_the_training_set():
    data = dataset(count=700)
    x, y = few_examples(data, seed=0)
    assert len(x) == len(y) == 512
    assert len(representative(data)) == 256
    assert len(representative(dataset(count=5))) == 5


def small(shape, num_classes):
    """A network that is cheap to export and to adapt to."""
    parts = [
        keras.Input(shape),
        keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(24, activation="relu", name="hidden"),
        keras.layers.Dense(num_classes, activation="softmax", name="head"),
    ]
    return keras.Sequential(parts)


@pytest.fixture
def quick(monkeypatch):
    """Without training and timing, on the small network."""
    leave_out_training_and_timing(monkeypatch)
    monkeypatch.setattr(demo, "train", lambda model, *args, **kwargs: model)
    for module in (demo, contest):
        monkeypatch.setattr(module, "HELD_OUT", (HELD_OUT[0], small))


def ship(folder, monkeypatch, weight_bits):
    """Ships another Φ, one that knows a single bit width, and gives its card."""
    folder.mkdir()
    actions = action_grid((0.0, 0.5), (weight_bits,))
    MetaCompressor(hidden=(4,), num_heads=2, actions=actions).save(folder / pretrained.PHI)
    card = pretrained.write_card(folder, **dict.fromkeys(pretrained.CARD_KEYS, "for a test"))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return card


def run_until(stage, folder):
    """Runs the demo until a stage begins; gives its lines, and the bits that Φ chose by then."""
    lines = []

    def announce(line):
        lines.append(line)
        if line.startswith(f"{stage} …"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(dataset(), folder, SETTINGS, announce=announce, quiet=True)
    policies = map(Policy.load, folder.glob("stages/*/policy-phi-zero-shot.json"))
    return lines, {tuple(rule.weight_bits for rule in policy.rules) for policy in policies}


def test_the_shipped_phi_proposes_and_another_one_makes_all_anew(tmp_path, monkeypatch, quick):
    ship(tmp_path / "8 bits", monkeypatch, 8)
    lines, found = run_until("policy-phi-adapted", tmp_path / "out")
    assert found == {(8, 8, 8)}
    ship(tmp_path / "4 bits", monkeypatch, 4)
    lines, found = run_until("policy-phi-adapted", tmp_path / "out")
    assert "held-out-mixed …" in lines and "policy-phi-zero-shot …" in lines
    assert found == {(8, 8, 8), (4, 4, 4)}
    lines, _ = run_until("policy-phi-adapted", tmp_path / "out")
    assert "policy-phi-zero-shot: taken from the earlier run" in lines


def test_a_damaged_phi_is_refused_before_any_work(tmp_path, monkeypatch):
    ship(tmp_path / "phi", monkeypatch, 8)
    (tmp_path / "phi" / pretrained.PHI).write_bytes(b"damaged")
    with pytest.raises(CorruptFileError):
        run_demo(dataset(), tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_stage_runs_once_and_the_files_are_those_of_the_table(tmp_path, monkeypatch, quick):
    card = ship(tmp_path / "phi", monkeypatch, 8)
    out, lines = tmp_path / "out", []
    outcome = run_demo(dataset(), out, SETTINGS, announce=lines.append, quiet=True)
    assert [row.name for row in outcome.rows] == [
        "float32",
        "uniform + int8",
        "global magnitude + int8",
        "LAMP + int8",
        "ERK + int8",
        "LAMP + int4",
        "prior alone",
        "Φ zero-shot",
        "Φ adapted",
    ]
    adapted = outcome.chosen_row
    stages = next((out / "stages").glob("*/"))
    for name, file in (("int8", adapted.file), ("float32", "float32.tflite")):
        written = (out / f"model_{name}.tflite").read_bytes()
        assert written == (stages / file).read_bytes()
    assert (out / "model_int8.tflite").stat().st_size == adapted.file_bytes
    report = json.loads((out / "report.json").read_text())
    assert {f"model_{mode}.tflite" for mode in ("float32", "float16", "int8")} < set(
        report["files"]
    )
    assert report["phi"]["sha256"] == card["sha256"]
    began = [line for line in lines if " …" in line]
    assert len(began) == len(set(began)) == len(report["provenance"]["seconds"])
    lines.clear()
    run_demo(dataset(), out, SETTINGS, announce=lines.append, quiet=True)
    assert all("taken from the earlier run" in line for line in lines)
    assert json.loads((out / "report.json").read_text()) == report
