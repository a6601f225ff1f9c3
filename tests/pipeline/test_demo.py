"""The parts of the main job that need no training."""

import json

import keras
import numpy as np
import pytest

from tests.pipeline.jobs import leave_out_training_and_timing
from tests.small_models import tiny_net
from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline import Dataset, DemoSettings, contest, demo, run_demo
from tf_metacompress.pipeline.architectures import HELD_OUT, TO_LEARN_FROM
from tf_metacompress.pipeline.candidates import few_examples, representative, slug


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
        ({"meta_steps": -1}, "meta_steps"),
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


@pytest.mark.parametrize("name", demo.VARIANTS)
@pytest.mark.parametrize("classes", [2, 10])
def test_a_variant_of_any_data_keeps_the_labels_in_range(name, classes):
    data = dataset(classes=classes)
    x, y = demo._variant_of(name, data, seed=0)
    assert len(x) == len(y) > 0
    assert y.max() < classes
    np.testing.assert_array_equal(x, demo._variant_of(name, data, seed=0)[0])


def test_large_data_are_drawn_from(monkeypatch):
    monkeypatch.setattr(demo, "MOST_EXAMPLES", 16)
    x, _ = demo._variant_of("noise", dataset(), seed=0)
    assert len(x) == 16


def test_a_small_model_gets_a_budget_that_it_can_reach():
    model = tiny_net()
    budget = demo.reachable_budget(model, 0.001, "cortex-m")
    assert budget.size_ratio is None
    MetaCompressor().propose(model, budget, "cortex-m")
    assert demo.reachable_budget(model, 1.0, "cortex-m").size_ratio == 1.0


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_every_architecture_can_be_built_for_the_data_sets(shape):
    for name, build in {**TO_LEARN_FROM, HELD_OUT[0]: HELD_OUT[1]}.items():
        model = build(shape, 10)
        assert isinstance(model, keras.Model)
        assert model.output_shape == (None, 10)
        assert len(compressible_layers(model)) >= 3, name


def test_the_architectures_to_learn_from_do_not_hold_the_one_to_judge_on():
    assert HELD_OUT[0] not in TO_LEARN_FROM
    assert HELD_OUT[1] not in TO_LEARN_FROM.values()


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


@pytest.mark.slow
def test_every_stage_runs_once_and_the_files_are_those_of_the_table(tmp_path, monkeypatch):
    leave_out_training_and_timing(monkeypatch)
    learned = []
    monkeypatch.setattr(demo, "train", lambda model, *args, **kwargs: model)
    monkeypatch.setattr(demo, "TO_LEARN_FROM", {"small": small})
    for module in (demo, contest):
        monkeypatch.setattr(module, "HELD_OUT", (HELD_OUT[0], small))
    monkeypatch.setattr(
        MetaCompressor, "fit", lambda self, tasks, *args, **kw: learned.append(tasks)
    )
    lines, settings = [], DemoSettings(size_ratio=0.6, inner_steps=1)
    outcome = run_demo(dataset(), tmp_path, settings, announce=lines.append, quiet=True)
    assert [row.name for row in outcome.rows] == [
        "float32",
        "uniform + int8",
        "global magnitude + int8",
        "LAMP + int8",
        "ERK + int8",
        *(row.name for row in outcome.rows[5:-2]),
        "Φ zero-shot",
        "Φ adapted",
    ]
    assert len(learned[0]) == 2 * len(demo.TASK_BUDGETS)
    adapted = outcome.chosen_row
    stages = next((tmp_path / "stages").glob("*/"))
    for name, file in (("int8", adapted.file), ("float32", "float32.tflite")):
        written = (tmp_path / f"model_{name}.tflite").read_bytes()
        assert written == (stages / file).read_bytes()
    assert (tmp_path / "model_int8.tflite").stat().st_size == adapted.file_bytes
    report = json.loads((tmp_path / "report.json").read_text())
    assert {f"model_{mode}.tflite" for mode in ("float32", "float16", "int8")} < set(
        report["files"]
    )
    began = [line for line in lines if " …" in line]
    assert len(began) == len(set(began)) == len(report["provenance"]["seconds"])
    lines.clear()
    run_demo(dataset(), tmp_path, settings, announce=lines.append, quiet=True)
    assert all("taken from the earlier run" in line for line in lines)
    assert json.loads((tmp_path / "report.json").read_text()) == report
