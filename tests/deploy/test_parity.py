"""The numbers of the parity gate, on arrays whose answer fits on paper."""

import math

import keras
import numpy as np
import pytest

from tests import small_models
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.parity import compare_outputs
from tf_metacompress.errors import InvalidArgumentError, ParityError

layers = keras.layers


def compare(expected, actual, tolerance=0.1):
    expected, actual = np.asarray(expected), np.asarray(actual)
    return compare_outputs({"y": expected}, {"y": actual}, tolerance=tolerance)


def test_errors_on_paper():
    report = compare([[3.0, 0.0], [0.0, 3.0]], [[3.0, 1.0], [4.0, 3.0]])
    output = report.worst
    assert output.max_abs_error == 4.0
    assert output.rms_error == pytest.approx(math.sqrt(17 / 4))
    assert output.relative_error == pytest.approx(math.sqrt(17 / 18))
    assert output.spread_error == pytest.approx(math.sqrt(17 / 9))
    assert output.agreement == 0.5
    assert (report.passed, report.num_samples) == (False, 2)


def test_the_gate_is_free_of_scale():
    generator = np.random.default_rng(0)
    expected = generator.normal(size=(20, 5))
    actual = expected + 0.01 * generator.normal(size=(20, 5))
    errors = [compare(expected * scale, actual * scale).relative_error for scale in (1e-6, 1, 1e6)]
    assert errors == pytest.approx([errors[0]] * 3)


def test_the_worst_output_decides():
    expected = {"a": np.ones((2, 3)), "b": np.ones((2, 3))}
    actual = {"a": np.ones((2, 3)), "b": np.full((2, 3), 1.5)}
    report = compare_outputs(expected, actual, tolerance=0.4)
    assert report.worst.name == "b"
    assert not report.passed
    assert compare_outputs(expected, actual, tolerance=0.5).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_pass(value):
    report = compare([[1.0, 2.0]], [[1.0, value]], tolerance=1e9)
    assert not report.passed
    assert report.max_abs_error == math.inf
    assert report.to_dict()["outputs"][0]["relative_error"] is None


def test_outputs_that_are_zero():
    assert compare([[0.0]], [[0.0]]).relative_error == 0.0
    assert compare([[0.0]], [[1e-9]]).relative_error == math.inf


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 2)])
def test_agreement_is_for_classes_only(shape):
    assert compare(np.ones(shape), np.ones(shape)).worst.agreement is None


def test_a_constant_answer_around_a_large_offset_is_warned_of(tmp_path):
    inputs = keras.Input((4,))
    outputs = layers.Rescaling(1.0, offset=1000.0)(layers.Dense(1, name="head")(inputs))
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    report = export_litert(
        keras.Model(inputs, outputs), tmp_path / "m.tflite", mode="int8", representative_dataset=x
    )
    assert report.parity.passed
    assert report.parity.worst.spread_error > 0.5
    assert any("variation over the samples" in warning for warning in report.warnings)


def test_a_model_that_gives_nan_is_not_the_file_s_fault(tmp_path):
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, layers.Dense(2, activation=keras.ops.sqrt, name="root")(inputs))
    with pytest.raises(InvalidArgumentError, match="Keras model itself gives NaN"):
        export_litert(model, tmp_path / "m.tflite", representative_dataset=-np.eye(3))


def test_a_tolerance_of_ones_own(tmp_path):
    model, (x, _) = small_models.conv_net(), small_models.images(24)
    path = tmp_path / "m.tflite"
    with pytest.raises(ParityError, match=r"tolerance 1e-09.*24 samples") as caught:
        export_litert(model, path, mode="int8", representative_dataset=x, tolerance=1e-9)
    assert not path.exists()
    report = caught.value.report
    assert report.sizes.file_bytes > 0
    error = report.parity.relative_error
    settings = {"mode": "int8", "representative_dataset": x}
    assert export_litert(model, path, tolerance=error * 1.001, **settings).parity.passed
    assert path.exists()
