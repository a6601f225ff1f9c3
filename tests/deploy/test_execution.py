"""What a report says of stored and executed types, against the file and the runtime itself."""

import json
import math
from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.small_models import randomize
from tf_metacompress import Policy, Rule
from tf_metacompress.deploy import ExportReport, LitertModel, export_litert
from tf_metacompress.deploy.delegation import delegated_tensors, delegation_of
from tf_metacompress.deploy.parity import LayerParity
from tf_metacompress.errors import CorruptFileError

layers = keras.layers

RUNS = {
    ("float32", "float32"): ["float32"] * 4,
    ("float16", "float32"): ["float32, weights widened from float16"] * 4,
    ("dynamic", "float32"): ["dynamic int8"] * 4,
    ("int8", "int8"): ["int8", "int8", "int8", "int8 with int4 weights"],
}


@pytest.mark.parametrize("chosen", RUNS)
def test_what_each_layer_computes_with(exports, chosen):
    report = exports[chosen]
    assert [str(one) for one in report.executions] == RUNS[chosen]
    assert [one.layer for one in report.executions] == [one.layer for one in report.layers]
    assert all(f"runs in {text}" in str(report) for text in RUNS[chosen])


def test_the_layers_outside_the_delegate_are_those_of_the_runtime(exports):
    for report in exports.values():
        left = {one.op for one in report.executions if one.delegated is False}
        assert left <= set(report.delegation.ops_outside)
    dynamic = {one.layer: one.delegated for one in exports["dynamic", "float32"].executions}
    assert dynamic["depthwise"] is False
    assert dynamic["head"] is True


def test_tensors_of_a_delegate():
    details = [
        {"op_name": "CONV_2D", "inputs": [0], "outputs": [1]},
        {"op_name": "SIN", "inputs": [1], "outputs": [2]},
        {"op_name": "DELEGATE", "inputs": [0], "outputs": [1]},
    ]
    assert delegated_tensors(details) == {1}
    assert delegated_tensors(None) is None
    assert delegation_of(details).ops_outside == ("SIN",)


def test_packed_weights_are_the_only_thing_not_asked_for(exports):
    (entry,) = exports["int8", "int8"].deviations
    assert (entry.asked, entry.type) == ("int8", "int4")
    assert "without loss" in entry.why
    assert exports["float16", "float32"].deviations == ()
    assert "not as asked: 1" in str(exports["int8", "int8"])


@pytest.mark.slow
def test_an_operator_without_an_integer_kernel_is_a_deviation_with_its_reason(tmp_path):
    inputs = keras.Input((6,))
    x = layers.Activation(keras.ops.sin)(layers.Dense(5, name="a")(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3, name="b")(x)))
    x_data = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    path = tmp_path / "m.tflite"
    settings = {"mode": "int8", "io_dtype": "int8", "representative_dataset": x_data}
    report = export_litert(model, path, **settings)
    assert all("SIN" in entry.why for entry in report.deviations)
    floats = {
        detail["name"]
        for detail in Interpreter(str(path)).get_tensor_details()
        if detail["dtype"] == np.float32
    }
    assert {entry.tensor for entry in report.deviations} == floats


@pytest.mark.slow
def test_bits_of_the_policy_that_the_file_has_not(cnn, data, tmp_path):
    rules = [Rule("stem", weight_bits=8), Rule("four_bits", weight_bits=4)]
    rules += [Rule("depthwise", weight_bits=32), Rule("head", weight_bits=4)]
    report = export_litert(
        cnn, tmp_path / "m.tflite", mode="mixed", policy=Policy(rules), representative_dataset=data
    )
    kernel = {one.layer: one.tensor for one in report.layers}["four_bits"]
    (entry,) = [one for one in report.deviations if one.tensor == kernel]
    assert (entry.asked, entry.type) == ("int4", "int8")
    assert "no fast kernel" in entry.why
    runs = {one.layer: str(one) for one in report.executions}
    assert runs == {
        "stem": "int8",
        "depthwise": "float32",
        "four_bits": "int8",
        "head": "int8 with int4 weights",
    }


def test_a_report_comes_back_from_its_json(exports):
    for report in exports.values():
        assert ExportReport.from_dict(json.loads(report.to_json())) == report
    report = exports["int8", "int8"]
    broken = LayerParity(
        layer="a", result="a", tensor="t", relative_error=math.inf, max_abs_error=math.inf
    )
    failed = replace(
        report, parity=replace(report.parity, layers=(broken,), unseen_layers={"b": "a loop"})
    )
    again = ExportReport.from_dict(json.loads(failed.to_json()))
    assert again == failed
    assert str(again) == str(failed)


@pytest.mark.parametrize(
    "values", [None, [], {}, {"schema_version": 1}, {"schema_version": 1, "parity": 3}]
)
def test_what_is_no_report_is_refused(values):
    with pytest.raises(CorruptFileError):
        ExportReport.from_dict(values)


@pytest.mark.slow
def test_what_runs_in_a_loop(tmp_path):
    inputs = keras.Input((4, 3))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(layers.GRU(5)(inputs))))
    x = np.random.default_rng(0).normal(size=(20, 4, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    inside = [one for one in report.executions if one.in_loop]
    assert inside
    assert all(str(one) == "float32, weights widened from int8, in a loop" for one in inside)
    assert any("loop" in entry.why for entry in report.deviations)
    assert len(LitertModel.open(path).file.subgraphs) > 1
