"""Where a file and Keras part: the layer that was damaged is the one that is named."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests import small_models
from tf_metacompress import Policy, Rule, compress
from tf_metacompress.anatomy import kernel_arrays
from tf_metacompress.anatomy.samples import check_samples
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.layer_map import map_layers
from tf_metacompress.deploy.layer_parity import LayerSubject, compare_layers
from tf_metacompress.deploy.parity import LayerParity, OutputParity, ParityReport
from tf_metacompress.errors import CorruptFileError

layers = keras.layers
NORMAL = np.random.default_rng(0).normal


def two_heads():
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="relu", name="body")(inputs)
    outputs = [layers.Dense(2, name="left")(x), layers.Dense(1, name="right")(x)]
    return small_models.randomize(keras.Model(inputs, outputs))


def chain():
    stack = [layers.Dense(7, activation="relu", name=f"dense{n}") for n in range(3)]
    return small_models.randomize(keras.Sequential([keras.Input((5,)), *stack]))


def recurrent(return_sequences):
    inputs = keras.Input((4, 3))
    x = layers.LSTM(5, return_sequences=return_sequences, name="lstm")(inputs)
    x = layers.Flatten(name="flatten")(x)
    return small_models.randomize(keras.Model(inputs, layers.Dense(2, name="head")(x)))


def table(model, data, x):
    """Compares a model with a float32 file that may be another's."""
    conversion = convert_float(model)
    file = read_flatfile(data)
    subject = LayerSubject(
        model=model,
        reference=model,
        signature=conversion.signature,
        file=file,
        mapped=map_layers(file, kernel_arrays(model, folded=True)),
    )
    return compare_layers(subject, data, check_samples(x, conversion.signature))


def test_a_float_file_with_one_damaged_kernel_names_that_layer():
    model, damaged = chain(), chain()
    kernel = damaged.get_layer("dense1").kernel
    kernel.assign(kernel[:, ::-1])
    x = NORMAL(size=(8, 5)).astype("float32")
    found = table(model, convert_float(damaged).data, x)
    assert [one.layer for one in found.layers] == ["dense0", "dense1", "dense2"]
    assert found.layers[0].relative_error < 1e-5
    assert found.layers[1].relative_error > 0.1


@pytest.mark.slow
def test_the_errors_are_those_of_keras_and_the_runtime(tmp_path):
    model, x = two_heads(), NORMAL(size=(12, 6)).astype("float32")
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode="dynamic", representative_dataset=x, per_layer=True)
    assert {one.layer for one in report.parity.layers} == {"body", "left", "right"}
    body = next(one for one in report.parity.layers if one.layer == "body")
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (index,) = [d["index"] for d in interpreter.get_tensor_details() if d["name"] == body.tensor]
    actual = []
    for sample in x:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        actual.append(interpreter.get_tensor(index)[0])
    expected = np.asarray(model.get_layer("body")(x))
    apart = np.linalg.norm(np.array(actual) - expected) / np.linalg.norm(expected)
    assert body.relative_error == pytest.approx(apart, rel=1e-4)
    assert 0.0 < apart < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("return_sequences", [False, True])
def test_the_result_of_a_loop_is_compared_where_it_leaves_it(return_sequences, tmp_path):
    x = NORMAL(size=(12, 4, 3)).astype("float32")
    report = export_litert(
        recurrent(return_sequences),
        tmp_path / "m.tflite",
        mode="int8",
        representative_dataset=x,
        per_layer=True,
    )
    seen = {one.layer: one.relative_error for one in report.parity.layers}
    assert 0.0 < seen["head"] < 0.1
    assert ("lstm" in seen) or "in a loop" in report.parity.unseen_layers["lstm"]


@pytest.mark.slow
def test_a_student_is_compared_with_itself_not_with_what_it_rounds(tmp_path):
    model, x = chain(), NORMAL(size=(64, 5)).astype("float32")
    rules = [Rule("*", weight_bits=4, activation_bits=4)]
    student = compress(model, Policy(rules))
    for _ in range(3):
        student(x, training=True)
    report = export_litert(
        student, tmp_path / "m.tflite", mode="int8", representative_dataset=x, per_layer=True
    )
    assert report.parity.passed
    assert max(one.relative_error for one in report.parity.layers) < 0.25


@pytest.mark.slow
def test_a_file_that_runs_with_a_delegate_only_is_said_to(tmp_path, monkeypatch):
    def refuse(*args):
        raise CorruptFileError("The runtime refuses it.")

    monkeypatch.setattr("tf_metacompress.deploy.proof.compare_layers", refuse)
    report = export_litert(chain(), tmp_path / "m.tflite", per_layer=True)
    assert report.parity.passed
    assert list(report.parity.unseen_layers) == ["every layer"]
    assert "without a delegate: The runtime refuses it)" in report.parity.where_apart()


def layer(name, error):
    return LayerParity(
        layer=name, result=name, tensor=name, relative_error=error, max_abs_error=error
    )


def parity(*table, unseen=None):
    output = OutputParity(
        name="y",
        max_abs_error=1.0,
        rms_error=1.0,
        relative_error=1.0,
        spread_error=1.0,
        agreement=None,
    )
    return ParityReport(
        outputs=(output,),
        tolerance=0.1,
        num_samples=1,
        source="random",
        layers=table,
        unseen_layers=unseen or {},
    )


def test_what_is_said_of_the_place():
    first = parity(layer("a", 0.01), layer("b", 0.5), layer("c", 0.9))
    assert first.first_apart.layer == "b"
    assert first.where_apart().startswith("They part at layer 'b' (relative error 0.5), after 'a'")
    below = parity(layer("a", 0.01), layer("b", 0.05), unseen={"lstm": "it is a loop"})
    assert below.first_apart is None
    assert "furthest is 'b'" in below.where_apart()
    assert below.where_apart().endswith("Not seen: 'lstm' (it is a loop).")
    assert parity(layer("a", np.nan)).first_apart.layer == "a"
    assert parity().where_apart() == "No layer could be compared."
