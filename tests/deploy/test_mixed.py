"""Mode "mixed": every layer is stored, and computes, in the numbers that the policy gave it."""

import keras
import numpy as np
import pytest

from tests.deploy.conftest import on_grid
from tests.small_models import randomize
from tf_metacompress import Policy, Rule, compress, finalize
from tf_metacompress.anatomy import describe
from tf_metacompress.deploy import LitertModel, export_litert
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import stored_form

layers = keras.layers


def branched_net():
    """Two branches that meet, so that operators without weights stand between formats."""
    inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    left = layers.Conv2D(4, 3, padding="same", name="left")(x)
    right = layers.DepthwiseConv2D(3, padding="same", name="right")(x)
    x = layers.MaxPooling2D(name="pool")(layers.Add(name="join")([left, right]))
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(6, activation="relu", name="hidden")(x)
    return randomize(keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x)))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((24, 8, 8, 2)).astype("float32")


RULES = {
    "stem": {"weight_bits": 8},
    "left": {"weight_bits": 4, "sparsity": 0.5},
    "right": {"weight_bits": 16},
    "hidden": {"weight_bits": 8, "activation_bits": 16},
    "head": {"weight_bits": 4},
}
STORED = {"stem": "int8", "left": "int8", "right": "float16", "hidden": "int8", "head": "int4"}
INPUTS = {
    "stem": "int8",
    "left": "int8",
    "right": "float32",
    "hidden": "int16",
    "head": "int8",
}


@pytest.fixture(scope="module")
def student(x):
    rules = [Rule(name, **fields) for name, fields in RULES.items()]
    student = compress(branched_net(), Policy(rules))
    for _ in range(2):
        student(x, training=True)
    return student


@pytest.fixture(scope="module")
def report(student, x, tmp_path_factory):
    path = tmp_path_factory.mktemp("mixed") / "m.tflite"
    return export_litert(student, path, mode="mixed", representative_dataset=x)


def operators(report):
    """Keras layer to the operator that reads its weights, widened or not, and the graph."""
    graph = LitertModel.open(report.path, trusted=True).file.main
    found = {}
    for entry in report.layers:
        names = {entry.tensor}
        for op in graph.ops:
            read = {graph.tensors[index].name for index in op.inputs if index >= 0}
            if op.name == "DEQUANTIZE" and read & names:
                names.add(graph.tensors[op.outputs[0]].name)
            elif read & names:
                found[entry.layer] = op
    return found, graph


def test_each_layer_is_stored_and_computes_as_planned(report):
    assert report.stored_types == STORED
    found, graph = operators(report)
    types = {layer: graph.tensors[op.inputs[0]].type for layer, op in found.items()}
    assert types == INPUTS


def test_operators_without_weights_follow_what_they_read(report):
    _, graph = operators(report)
    made = {op.name: graph.tensors[op.outputs[0]].type for op in graph.ops}
    assert (made["ADD"], made["MAX_POOL_2D"], made["SOFTMAX"]) == ("float32", "float32", "int8")


def test_the_file_computes_what_the_student_computes(report, student, x):
    assert report.parity.relative_error < 0.02
    actual = LitertModel.open(report.path, trusted=True).predict(x)
    np.testing.assert_allclose(actual, student(x, training=False), atol=0.03)


def test_the_table_of_storage_foresaw_it(report, student):
    kinds = {info.name: info.kind for info in describe(student.network)}
    plans = {c.plan.layer: c.plan for c in student.compressors if c.kernels}
    found, graph = operators(report)
    for entry in report.layers:
        form = stored_form(plans[entry.layer], kinds[entry.layer])
        assert form.weights.removeprefix("packed ") == entry.stored
        assert form.activations == graph.tensors[found[entry.layer].inputs[0]].type


def test_a_policy_for_a_plain_model_leaves_the_other_layers_in_float32(x, tmp_path):
    model = branched_net()
    policy = Policy([Rule("left", weight_bits=8)])
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode="mixed", policy=policy, representative_dataset=x)
    expected = {name: "float32" for name in STORED} | {"left": "int8"}
    assert report.stored_types == expected
    assert report.parity.relative_error < 0.05
    names = [op.name for op in LitertModel.open(path, trusted=True).file.main.ops]
    assert names.count("QUANTIZE") == names.count("DEQUANTIZE") == 1


def test_a_policy_takes_the_place_of_what_the_student_was_trained_with(student, x, tmp_path):
    report = export_litert(
        student,
        tmp_path / "m.tflite",
        mode="mixed",
        policy=Policy([Rule("stem", weight_bits=16)]),
        representative_dataset=x,
    )
    assert report.stored_types["stem"] == "float16"
    assert report.stored_types["head"] == "float32"


def test_weights_in_int8_under_float_activations_are_widened_without_loss(x, tmp_path):
    rule = Rule("*", weight_bits=5, activation_bits=32)
    student = compress(branched_net(), Policy([rule]))
    path = tmp_path / "m.tflite"
    report = export_litert(student, path, mode="mixed", representative_dataset=x)
    assert set(report.stored_types.values()) == {"int8"}
    assert all(entry.exact and entry.grid_bits == 5 for entry in report.layers)
    actual = LitertModel.open(path, trusted=True).predict(x)
    np.testing.assert_allclose(actual, finalize(student)(x), atol=1e-5)


def shared_net():
    inputs = keras.Input((6,), name="x")
    features = layers.Dense(6, activation="relu", name="shared")
    x = features(features(inputs))
    return randomize(keras.Model(inputs, [x, layers.Dense(3, name="head")(x), inputs]))


@pytest.mark.parametrize("bits", [{"shared": 8}, {"head": 8}, {"shared": 8, "head": 8}])
def test_shared_layers_and_outputs_that_are_read_again(bits, tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    policy = Policy([Rule(name, weight_bits=number) for name, number in bits.items()])
    model, path = shared_net(), tmp_path / "m.tflite"
    report = export_litert(model, path, mode="mixed", policy=policy, representative_dataset=x)
    assert {k for k, stored in report.stored_types.items() if stored == "int8"} == set(bits)
    assert report.parity.relative_error < 0.05
    if "shared" not in bits:
        exact = report.parity.outputs[0]
        assert exact.relative_error < 1e-6


@pytest.mark.parametrize("io_dtype", ["float32", "int8"])
def test_an_int8_output_that_an_operator_in_float32_reads(io_dtype, tmp_path):
    inputs = keras.Input((6,), name="x")
    features = layers.Dense(5, activation="relu", name="features")(inputs)
    scores = layers.Dense(3, name="scores")(layers.Activation(keras.ops.sin)(features))
    model, path = randomize(keras.Model(inputs, [features, scores])), tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    report = export_litert(model, path, mode="int8", io_dtype=io_dtype, representative_dataset=x)
    assert {output.name for output in report.parity.outputs} == {"features", "scores"}
    assert report.parity.relative_error < 0.05


def test_bad_arguments(x, tmp_path):
    model, path = branched_net(), tmp_path / "m.tflite"
    with pytest.raises(InvalidArgumentError, match="needs `policy`"):
        export_litert(model, path, mode="mixed", representative_dataset=x)
    with pytest.raises(InvalidArgumentError, match="goes with mode 'mixed' only"):
        export_litert(model, path, mode="int8", policy=Policy(), representative_dataset=x)
    with pytest.raises(ArgumentTypeError, match="must be a Policy"):
        export_litert(model, path, mode="mixed", policy={"a": 8}, representative_dataset=x)
    with pytest.raises(InvalidArgumentError, match="fits no layer"):
        policy = Policy([Rule("stranger", weight_bits=8)])
        export_litert(model, path, mode="mixed", policy=policy, representative_dataset=x)
    assert list(tmp_path.iterdir()) == []


def test_int16x8_loses_next_to_nothing_once_the_weights_are_on_their_grid(x, tmp_path):
    model = finalize(compress(branched_net(), Policy([Rule("*", weight_bits=8)])))
    path, errors = tmp_path / "m.tflite", {}
    for mode in ("int8", "int16x8"):
        report = export_litert(model, path, mode=mode, representative_dataset=x)
        errors[mode] = report.parity.relative_error
        assert all(entry.exact and entry.stored == "int8" for entry in report.layers)
    graph = LitertModel.open(path, trusted=True).file.main
    types = {graph.tensors[op.outputs[0]].type for op in graph.ops if op.name != "DEQUANTIZE"}
    assert types == {"int16"}
    assert errors["int16x8"] < 1e-3 < errors["int8"]
    assert any("no kernels for 16-bit activations" in text for text in report.warnings)


def test_rounding_to_four_bits_without_training_is_said(x, tmp_path):
    model = branched_net()
    report = export_litert(
        model,
        tmp_path / "m.tflite",
        mode="mixed",
        policy=Policy([Rule("hidden", weight_bits=4)]),
        representative_dataset=x,
    )
    entry = next(entry for entry in report.layers if entry.layer == "hidden")
    kernel = model.get_layer("hidden").kernel.numpy()
    rounded = on_grid(kernel, 4)
    assert (entry.stored, entry.exact) == ("int4", False)
    expected = np.linalg.norm(rounded - kernel) / np.linalg.norm(kernel)
    assert entry.rounding_error == pytest.approx(expected, rel=1e-4)
    assert any("Train with `compress` first" in text for text in report.warnings)
