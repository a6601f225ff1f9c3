"""Metadata, an open batch size and other options that most exports do without."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests import small_models
from tf_metacompress import Policy, Rule, compress
from tf_metacompress.deploy import (
    LitertModel,
    ModelMetadata,
    Normalization,
    export_litert,
    read_metadata,
)
from tf_metacompress.deploy.model_digest import model_digest
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    ParityError,
    UnsupportedModelError,
)

layers = keras.layers
SAID = ModelMetadata(
    name="digits",
    labels=("no", "ja – yes", "может"),
    normalization={"input": Normalization(mean=(127.5,), std=(127.5,))},
)


def rows(count=24, features=12):
    return np.random.default_rng(0).normal(size=(count, features)).astype("float32")


def test_metadata_are_filled_in_written_and_repeated_beside_the_file(tmp_path):
    model, path = small_models.dense_net(), tmp_path / "m.tflite"
    rules = [Rule("*", weight_bits=8)]
    settings = {"representative_dataset": rows(), "mode": "mixed", "policy": Policy(rules)}
    plain = export_litert(model, tmp_path / "plain.tflite", **settings)
    report = export_litert(model, path, metadata=SAID, **settings)
    said = read_metadata(path)
    assert (said.name, said.labels, said.normalization) == (
        SAID.name,
        SAID.labels,
        SAID.normalization,
    )
    assert Policy.from_json(json.dumps(said.policy)).rules == Policy(rules).rules
    assert said.versions == dict(report.versions)
    assert said.keras_sha256 == model_digest(model)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    twin = json.loads(Path(f"{path}.json").read_text())
    assert twin["model_sha256"] == plain.sha256
    assert twin["labels"] == list(SAID.labels)
    assert json.dumps(twin, indent=2, ensure_ascii=False).encode() in path.read_bytes()
    assert read_metadata(tmp_path / "plain.tflite") is None
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "m.tflite",
        "m.tflite.json",
        "plain.tflite",
    ]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    model, files = small_models.dense_net(), []
    model.save(tmp_path / "m.keras")
    for name, made in (("a", model), ("b", keras.models.load_model(tmp_path / "m.keras"))):
        path = tmp_path / f"{name}.tflite"
        settings = {"mode": "int8", "representative_dataset": rows(), "metadata": SAID}
        report = export_litert(made, path, **settings)
        files.append((report.sha256, path.read_bytes(), Path(f"{path}.json").read_bytes()))
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_every_mode_is_reproducible_bit_for_bit(mode, tmp_path):
    model, x = small_models.conv_net(), small_models.images(24)[0]
    settings = {"mode": mode, "representative_dataset": x, "metadata": ModelMetadata()}
    files = []
    for name in ("a", "b"):
        report = export_litert(model, tmp_path / name, **settings)
        files.append((report.sha256, (tmp_path / f"{name}.json").read_bytes()))
    assert files[0] == files[1]


def test_the_digest_is_that_of_configuration_and_weights(tmp_path):
    model = small_models.dense_net()
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert model_digest(loaded) == model_digest(model)
    weight = loaded.weights[0]
    weight.assign(weight + np.eye(*weight.shape, dtype="float32") * 1e-6)
    assert model_digest(loaded) != model_digest(model)
    subclassed = small_models.subclassed_net()
    assert model_digest(subclassed) == model_digest(subclassed)


@pytest.mark.slow
def test_a_student_says_what_it_was_trained_with(tmp_path):
    student = compress(small_models.dense_net(), Policy([Rule("*", weight_bits=4)]))
    student(rows(), training=True)
    path = tmp_path / "m.tflite"
    settings = {"mode": "int8", "representative_dataset": rows(), "metadata": ModelMetadata()}
    export_litert(student, path, **settings)
    policy = Policy.from_json(json.dumps(read_metadata(path).policy))
    assert {rule.weight_bits for rule in policy.rules} == {4}


def bad_options():
    five = ModelMetadata(labels=tuple("abcde"))
    other = ModelMetadata(normalization={"pixels": Normalization()})
    return {
        "unknown": ({"metdata": SAID}, "Did you mean 'metadata'"),
        "labels": ({"metadata": five}, "one label for each value"),
        "normalization": ({"metadata": other}, "must name inputs of the file"),
        "targets": ({"targets": [1, 2]}, "as many as the samples"),
    }


@pytest.mark.parametrize("case", bad_options())
def test_bad_options_leave_nothing_behind(case, tmp_path):
    settings, message = bad_options()[case]
    with pytest.raises(InvalidArgumentError, match=message):
        export_litert(small_models.dense_net(), tmp_path / "m.tflite", **settings)
    assert list(tmp_path.iterdir()) == []


def test_metadata_of_another_type_and_a_failed_file(tmp_path):
    with pytest.raises(ArgumentTypeError, match="must be a ModelMetadata"):
        export_litert(small_models.dense_net(), tmp_path / "m.tflite", metadata={"labels": ["a"]})
    settings = {"mode": "int8", "representative_dataset": rows(), "tolerance": 1e-9}
    with pytest.raises(ParityError):
        export_litert(small_models.dense_net(), tmp_path / "m.tflite", metadata=SAID, **settings)
    assert list(tmp_path.iterdir()) == []


def flattening_net():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Dense(6)(layers.Flatten()(layers.MaxPooling2D()(x)))
    return small_models.randomize(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "io_dtype"),
    [
        ("float32", "float32"),
        ("float16", "float32"),
        ("dynamic", "float32"),
        ("int8", "float32"),
        ("int8", "int8"),
        ("int16x8", "float32"),
    ],
)
def test_an_open_batch_size_gives_what_single_samples_give(mode, io_dtype, tmp_path):
    model, path, x = flattening_net(), tmp_path / "m.tflite", small_models.images(24)[0]
    export_litert(
        model, path, mode=mode, io_dtype=io_dtype, representative_dataset=x, dynamic_batch=True
    )
    opened = LitertModel.open(path)
    singles = opened.predict(x[:7])
    interpreter = Interpreter(str(path))
    before = interpreter.get_input_details()[0]
    assert before["shape_signature"].tolist() == [-1, 8, 8, 1]
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    interpreter.resize_tensor_input(before["index"], (7, 8, 8, 1), strict=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(before["index"], opened.stored_inputs({"input": x[:7]})["input"])
    interpreter.invoke()
    after = interpreter.get_output_details()[0]
    together = interpreter.get_tensor(after["index"]).astype("float64")
    if io_dtype == "int8":
        scale, zero_point = after["quantization"]
        together = (together - zero_point) * scale
    # Ranges found on the fly are those of the whole batch.
    tolerance = 0.05 if mode == "dynamic" else 1e-5
    np.testing.assert_allclose(together, singles, atol=tolerance)


@pytest.mark.slow
def test_a_model_of_a_fixed_batch_size_cannot_leave_it_open(tmp_path):
    inputs = keras.Input(batch_shape=(1, 4))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    try:
        export_litert(model, tmp_path / "m.tflite", dynamic_batch=True)
    except UnsupportedModelError:
        assert list(tmp_path.iterdir()) == []
        return
    details = Interpreter(str(tmp_path / "m.tflite")).get_input_details()
    assert details[0]["shape_signature"].tolist() == [-1, 4]
