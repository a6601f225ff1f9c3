"""The folder for an Android app: whole or not there, always the same bytes, true to the file."""

import json

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.deploy.handover.kotlin_syntax import assert_kotlin
from tests.deploy.handover.small_files import (
    INPUT_SCALE,
    INPUT_ZERO,
    OUTPUT_SCALE,
    OUTPUT_ZERO,
    File,
    classifier,
    with_appended_constants,
)
from tf_metacompress.deploy import (
    LitertModel,
    ModelMetadata,
    Normalization,
    bundle_android,
    read_metadata,
)
from tf_metacompress.deploy.metadata_entry import without_entry
from tf_metacompress.deploy.model_metadata import METADATA_ENTRY
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
    UnsupportedModelError,
)

SCALING = Normalization(mean=(1.0, 2.0, 3.0, 4.0), std=(0.3, 0.7, 1.1, 1.3))
METADATA = ModelMetadata(
    labels=("no", "$yes", "„ü“"), softmax=True, normalization={"pixels": SCALING}
)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """A model file, the folder made of it, and the report."""
    folder = tmp_path_factory.mktemp("bundled")
    path = folder / "hand gestures.tflite"
    path.write_bytes(with_appended_constants(classifier().packed()))
    report = bundle_android(path, folder / "out", metadata=METADATA, package="org.example.hands")
    return path, folder / "out", report


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kotlin(folder, ending="Model.kt"):
    (path,) = (path for path in folder.rglob("*.kt") if path.name.endswith(ending))
    return path.read_text("utf-8")


def vector_of(folder):
    def read(name, dtype):
        return np.frombuffer((folder / "vector" / name).read_bytes(), dtype)

    told = json.loads((folder / "vector/vector.json").read_text("utf-8"))
    sides = (told["inputs"][0], told["outputs"][0])
    return [(read(s["real_file"], "<f4"), read(s["stored_file"], s["type"])) for s in sides], told


def test_the_folder_holds_what_an_app_needs(bundled):
    _, folder, report = bundled
    place = "org/example/hands/HandGesturesModel"
    assert (
        set(report.files)
        == set(contents(folder))
        == {
            "AndroidManifest.xml",
            "README.md",
            f"androidTest/{place}Test.kt",
            "assets/labels.txt",
            "assets/model.json",
            "assets/model.tflite",
            "build.gradle.kts",
            f"kotlin/{place}.kt",
            "vector/input_0.float32",
            "vector/input_0.stored",
            "vector/output_0.float32",
            "vector/output_0.stored",
            "vector/vector.json",
        }
    )
    assert (folder / "assets/labels.txt").read_text("utf-8") == "no\n$yes\n„ü“\n"
    assert str(report).splitlines()[1] == "  AndroidManifest.xml"


def test_the_model_keeps_its_bytes_and_says_what_the_twin_says(bundled):
    path, folder, _ = bundled
    data = (folder / "assets/model.tflite").read_bytes()
    assert without_entry(data, METADATA_ENTRY) == path.read_bytes()
    assert (folder / "assets/model.json").read_bytes() in data
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32") * 20
    plain, marked = (LitertModel.open(d, trusted=True).run(x) for d in (path.read_bytes(), data))
    np.testing.assert_array_equal(marked["scores"], plain["scores"])
    assert read_metadata(folder / "assets/model.tflite").name == "hand gestures"


def test_the_vector_is_what_the_runtime_alone_gives(bundled):
    """By hand: normalise, quantise, run the bare interpreter, dequantise."""
    path, folder, _ = bundled
    ((raw, fed), (real, given)), told = vector_of(folder)
    ready = ((raw.astype("f8") - SCALING.mean) / SCALING.std).astype("f4")
    expected = np.clip(np.rint(ready / np.float64(INPUT_SCALE)) + INPUT_ZERO, -128, 127)
    np.testing.assert_array_equal(fed, expected)
    assert len(set(fed.tolist())) == 4
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed.reshape(1, 4))
    interpreter.invoke()
    actual = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()
    np.testing.assert_array_equal(given, actual)
    np.testing.assert_array_equal(real, (given.astype("f4") - OUTPUT_ZERO) * OUTPUT_SCALE)
    assert told["outputs"][0]["tolerance"] == 2 * OUTPUT_SCALE
    assert told["outputs"][0]["values"] == real.tolist()


def test_the_same_input_gives_the_same_bytes_also_from_the_bundled_model(bundled, tmp_path):
    path, folder, report = bundled
    for name, source, metadata in (
        ("again", path, METADATA),
        ("from the bundle", folder / "assets/model.tflite", None),
    ):
        bundle_android(source, tmp_path / name, metadata=metadata, package=report.package)
        assert contents(tmp_path / name) == contents(folder)


def test_the_kotlin_has_the_figures_of_the_file_and_parses(bundled):
    _, folder, _ = bundled
    source = kotlin(folder)
    assert_kotlin(source)
    assert_kotlin(kotlin(folder, "Test.kt"))
    assert_kotlin((folder / "build.gradle.kts").read_text())
    assert 'Tensor("pixels", 0, ElementType.INT8, listOf<Int>(1, 4), 0.5, -3, ' in source
    assert "doubleArrayOf(1.0, 2.0, 3.0, 4.0), doubleArrayOf(0.3, 0.7, 1.1, 1.3)" in source
    assert 'softmax(run(inputs).getValue("scores"))' in source
    label = METADATA.labels[int(np.argmax(vector_of(folder)[0][1][0]))]
    assert label in ("no", "„ü“")
    assert 'label == "' in kotlin(folder, "Test.kt")


def test_the_page_tells_sizes_operators_and_commands_and_no_path_of_this_machine(bundled):
    path, folder, report = bundled
    page = (folder / "README.md").read_text("utf-8")
    assert f"{report.sizes.file_bytes:,} B" in page
    assert report.sha256 in page
    assert "Operators (1): 1 × FULLY_CONNECTED." in page
    assert "--package org.example.hands" in page
    assert "Not measured yet" in page
    assert len(page.splitlines()) < 75
    assert not [
        name for name, data in contents(folder).items() if str(path.parent).encode() in data
    ]


def several_ways():
    """Two inputs by position, and a second signature with names of its own."""
    file = File()
    x, y, z = (file.tensor(name, (1, 3), "float32") for name in ('a "$b', "b", "sum"))
    w = file.tensor("twice", (1, 3), "uint8", 0.5, 7)
    file.op("ADD", [x, y], [z])
    file.op("QUANTIZE", [z], [w])
    file.graph.inputs, file.graph.outputs = [x, y], [w, z]
    file.sign("first", {"left": x, "right": y}, {"total": z, "short": w})
    file.sign("second", {"one": y, "two": x}, {"short": w})
    return file.packed()


def test_every_signature_is_in_the_kotlin(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(several_ways())
    bundle_android(path, tmp_path / "out")
    source = kotlin(tmp_path / "out")
    assert_kotlin(source)
    assert source.count("            Signature(") == 2
    assert 'Tensor("short", 0, ElementType.UINT8, listOf<Int>(1, 3), 0.5, 7, ' in source
    assert 'Tensor("two", 0, ElementType.FLOAT32' in source
    assert "classify" not in source
    assert not (tmp_path / "out/assets/labels.txt").exists()


def test_a_sample_goes_into_the_vector(bundled, tmp_path):
    path, _, _ = bundled
    sample = {"pixels": np.array([[9.0, 8.0, 7.0, 6.0]])}
    bundle_android(path, tmp_path / "out", metadata=METADATA, sample=sample)
    ((raw, _), _), told = vector_of(tmp_path / "out")
    assert raw.tolist() == [9.0, 8.0, 7.0, 6.0]
    assert told["seed"] is None


def boolean():
    file = File()
    x, y = (file.tensor(name, (1, 3), "bool") for name in "xy")
    file.op("LOGICAL_NOT", [x], [y])
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


def same_names():
    file = File()
    x, y, z = (file.tensor(name, (1, 3), "float32") for name in "xxz")
    file.op("ADD", [x, y], [z])
    file.graph.inputs, file.graph.outputs = [x, y], [z]
    return file.packed()


def division():
    file = File()
    x, y = (file.tensor(name, (1, 3), "float32") for name in "xy")
    file.op("DIV", [x, x], [y], version=1)
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: b"no model at all", {}, CorruptFileError, "TFL3"),
        (lambda: b"", {}, CorruptFileError, "empty"),
        (boolean, {}, UnsupportedModelError, "x: bool, y: bool"),
        (same_names, {}, UnsupportedModelError, "name of its own"),
        (classifier().packed, {"package": "gestures"}, InvalidArgumentError, "Java package"),
        (classifier().packed, {"package": "a.class"}, InvalidArgumentError, "Java package"),
        (classifier().packed, {"package": "a.b;c"}, InvalidArgumentError, "Java package"),
        (classifier().packed, {"package": 3}, ArgumentTypeError, "string"),
        (classifier().packed, {"sample": {"pixels": "abc"}}, ArgumentTypeError, "numbers"),
        (classifier().packed, {"sample": np.zeros((1, 4))}, ArgumentTypeError, "numbers"),
        (classifier().packed, {"metadata": {"labels": []}}, ArgumentTypeError, "ModelMetadata"),
        (
            classifier().packed,
            {"metadata": ModelMetadata(labels=("a", "b"))},
            InvalidArgumentError,
            "labels=2, values=3",
        ),
        (
            classifier().packed,
            {"sample": {"pixels": np.zeros((1, 5))}},
            InvalidArgumentError,
            "one array for each input",
        ),
        (
            classifier().packed,
            {"sample": {"pixels": np.full((1, 4), np.nan)}},
            InvalidArgumentError,
            "finite",
        ),
        (division, {"sample": {"x": np.zeros((1, 3))}}, UnsupportedModelError, "NaN or infinity"),
        (classifier().packed, {"benchmarks": ["none.json"]}, InvalidArgumentError, "Cannot read"),
        (classifier(shape=(1, 2**30)).packed, {}, UnsupportedModelError, "Received: pixels"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path, make, arguments, error, message):
    path = tmp_path / "m.tflite"
    path.write_bytes(make())
    with pytest.raises(error, match=message):
        bundle_android(path, tmp_path / "out", **arguments)
    assert [item.name for item in tmp_path.iterdir()] == ["m.tflite"]


def test_a_folder_that_holds_something_is_left_alone(bundled, tmp_path):
    path, _, _ = bundled
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="new or empty"):
        bundle_android(path, tmp_path)
    assert contents(tmp_path) == {"note.txt": b"mine"}
    with pytest.raises(InvalidArgumentError, match="new or empty"):
        bundle_android(path, tmp_path / "note.txt")


def test_an_output_of_another_shape_than_stated_is_refused(tmp_path):
    file = classifier()
    file.graph.tensors[-1].shape = [1, 1, 3]
    (tmp_path / "m.tflite").write_bytes(file.packed())
    with pytest.raises(UnsupportedModelError, match=r"'scores': \(1, 3\)} from the runtime"):
        bundle_android(tmp_path / "m.tflite", tmp_path / "b")


def test_a_scale_on_floats_means_nothing(tmp_path):
    file = classifier("float32")
    for tensor in (file.graph.tensors[0], file.graph.tensors[-1]):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [3]
    (tmp_path / "m.tflite").write_bytes(file.packed())
    bundle_android(tmp_path / "m.tflite", tmp_path / "b")
    told = json.loads((tmp_path / "b/assets/model.json").read_text("utf-8"))
    (way,) = told["signatures"]
    assert [way[side][0]["scale"] for side in ("inputs", "outputs")] == [0, 0]
