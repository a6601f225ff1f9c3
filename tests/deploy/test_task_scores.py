"""Accuracy and error of Keras and of its file, on numbers that fit on paper."""

import keras
import numpy as np
import pytest

from tests import small_models
from tf_metacompress.deploy import LitertModel, export_litert
from tf_metacompress.deploy.task_scores import check_targets, score
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError

EXPECTED = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
ACTUAL = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.4, 0.6]])


@pytest.mark.parametrize(
    "targets", [[0, 1, 1, 1], [[0], [1], [1], [1]], [[1, 0], [0, 1], [0, 1], [0, 1]]]
)
def test_accuracy_of_classes_in_every_form(targets):
    found = score("y", np.array(targets), EXPECTED, ACTUAL)
    assert (found.measure, found.keras, found.file) == ("accuracy", 0.75, 0.75)


def test_error_of_values():
    found = score("y", np.zeros((2, 1)), np.array([[3.0], [4.0]]), np.array([[0.0], [2.0]]))
    assert found.measure == "rms_error"
    assert found.keras == pytest.approx(np.sqrt(12.5))
    assert found.file == pytest.approx(np.sqrt(2.0))
    binary = score("y", np.array([1, 0]), np.array([[1.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert (binary.measure, binary.file) == ("rms_error", 0.0)


def test_targets_that_do_not_fit():
    with pytest.raises(InvalidArgumentError, match="as many as the samples"):
        check_targets([1, 2], ("y",), 3)
    with pytest.raises(InvalidArgumentError, match="Did you mean 'left'"):
        check_targets({"lefd": [1]}, ("left", "right"), 1)
    with pytest.raises(ArgumentTypeError, match="arrays of numbers"):
        check_targets(["cat"], ("y",), 1)
    with pytest.raises(InvalidArgumentError, match="of the output's shape"):
        score("y", np.zeros((4, 3)), EXPECTED, ACTUAL)
    assert check_targets(None, ("y",), 0) == {}


@pytest.mark.slow
def test_both_are_scored_on_the_samples_that_are_compared(tmp_path):
    model, path = small_models.dense_net(), tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(700, 12)).astype("float32")
    y = np.random.default_rng(1).integers(0, 3, 700)
    report = export_litert(model, path, mode="int8", representative_dataset=x, targets=y)
    chosen = np.linspace(0, 699, 256).round().astype(int)
    (found,) = report.parity.scores
    actual = LitertModel.open(path).predict(x[chosen])
    assert found.file == pytest.approx(np.mean(actual.argmax(1) == y[chosen]))
    assert found.keras == pytest.approx(np.mean(np.argmax(model(x[chosen]), 1) == y[chosen]))
    assert f"Keras {found.keras:.2%}, file {found.file:.2%}" in str(report)


@pytest.mark.slow
def test_several_outputs_have_targets_by_name(tmp_path):
    inputs = keras.Input((4,))
    outputs = [
        keras.layers.Dense(3, name="kind")(inputs),
        keras.layers.Dense(1, name="size")(inputs),
    ]
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    targets = {"size": x[:, 0], "kind": np.arange(20) % 3}
    report = export_litert(
        keras.Model(inputs, outputs),
        tmp_path / "m.tflite",
        representative_dataset=x,
        targets=targets,
    )
    found = {one.output: one for one in report.parity.scores}
    assert found["kind"].measure == "accuracy"
    assert found["size"].keras == pytest.approx(found["size"].file, rel=1e-4)
    with pytest.raises(InvalidArgumentError, match="as many as the samples"):
        export_litert(keras.Model(inputs, outputs), tmp_path / "m.tflite", targets=targets)
