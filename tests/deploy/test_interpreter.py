"""Opening and running a file: like the runtime itself, and safe with files that are broken."""

from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests import small_models
from tests.fresh_python import run_script
from tf_metacompress.deploy import LitertModel, benchmark, compare, export_litert, measure_sizes
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
    UnsupportedModelError,
)


@pytest.fixture(scope="module")
def int8_bytes(exports):
    return Path(exports["int8", "int8"].path).read_bytes()


def edited(data, change):
    """Unpacks a file, lets `change` edit the model object, and packs it again."""
    model = schema.ModelT.InitFromPackedBuf(data)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_raw(path, x):
    """The runtime alone, integers converted by hand."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for sample in x:
        if source["dtype"] == np.int8:
            scale, zero = source["quantization"]
            sample = np.clip(np.round(sample / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], sample[None])
        interpreter.invoke()
        row = interpreter.get_tensor(sink["index"])[0]
        if sink["dtype"] == np.int8:
            scale, zero = sink["quantization"]
            row = (row.astype(np.float32) - zero) * scale
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("key", [("float32", "float32"), ("int8", "float32"), ("int8", "int8")])
def test_a_batch_gives_what_the_runtime_gives(exports, data, key):
    model = LitertModel.open(exports[key].path)
    actual = model.predict(data[:10])
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, run_raw(exports[key].path, data[:10]), atol=1e-6)


def test_inputs_by_name_in_order_and_several_outputs(tmp_path):
    model = small_models.shared_net()
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32")
    export_litert(model, tmp_path / "m.tflite", representative_dataset=tuple(x))
    opened = LitertModel.open(tmp_path / "m.tflite")
    assert opened.input_names == ("left", "right")
    by_name = opened.run({"right": x[1], "left": x[0]})["output_0"]
    np.testing.assert_array_equal(by_name, opened.predict(list(x)))
    expected = model({"left": x[0], "right": x[1]})
    np.testing.assert_allclose(by_name, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 12, 1), (3, 12, 12), (0, 12, 12, 1), (3, 5, 5, 1)])
def test_arrays_that_do_not_fit_are_refused(exports, shape):
    model = LitertModel.open(exports["float32", "float32"].path, trusted=True)
    with pytest.raises(InvalidArgumentError, match=r"image: \(N, 12, 12, 1\)"):
        model.predict(np.zeros(shape, "float32"))


def test_how_the_runtime_splits_a_file(exports):
    whole = read_delegation(LitertModel.open(exports["float32", "float32"].path, trusted=True))
    assert (whole.partitions, whole.ops_outside) == (1, ())
    split = exports["int8", "int8"].delegation
    assert split.partitions >= 1
    assert "SOFTMAX" in split.ops_outside


def test_a_runtime_that_does_not_tell_is_reported_as_none(exports, monkeypatch):
    monkeypatch.delattr(Interpreter, "_get_ops_details")
    model = LitertModel.open(exports["float32", "float32"].path, trusted=True)
    assert model.op_details() is None
    assert read_delegation(model) is None


def test_a_missing_file_and_a_wrong_path(tmp_path):
    with pytest.raises(InvalidArgumentError, match="No such file"):
        LitertModel.open(tmp_path / "none.tflite")
    with pytest.raises(ArgumentTypeError, match="`path`"):
        LitertModel.open(3)


def no_subgraphs(model):
    model.subgraphs = []


def no_such_buffer(model):
    model.subgraphs[0].tensors[0].buffer = 10_000


def no_such_tensor(model):
    model.subgraphs[0].operators[0].inputs = [99]


def no_such_operator(model):
    model.subgraphs[0].operators[0].opcodeIndex = 77


def negative_extent(model):
    model.subgraphs[0].tensors[0].shape = [1, -4, 12, 1]


def infinite_scale(model):
    model.subgraphs[0].tensors[0].quantization.scale = np.array([np.inf], np.float32)


def too_few_bytes(model):
    model.buffers[model.subgraphs[0].tensors[1].buffer].data = np.zeros(3, np.uint8)


def signature_elsewhere(model):
    model.signatureDefs[0].inputs[0].tensorIndex = 1234


def too_few_scales(model):
    quantized = [t.quantization for t in model.subgraphs[0].tensors if t.quantization]
    several = next(q for q in quantized if q.scale is not None and len(q.scale) > 1)
    several.scale, several.zeroPoint = several.scale[:-1], several.zeroPoint[:-1]


def other_version(model):
    model.version = 2


DAMAGES = {
    no_subgraphs: "no subgraph",
    no_such_buffer: "missing buffer",
    no_such_tensor: "tensor that does not exist",
    no_such_operator: "no operator code",
    negative_extent: "negative extent",
    infinite_scale: "scale is negative or not finite",
    too_few_bytes: "3 of",
    signature_elsewhere: "signature refers",
    too_few_scales: "do not fit the channels",
    other_version: "schema version 2",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_contradictions_are_found_before_the_runtime_sees_them(int8_bytes, damage):
    with pytest.raises(CorruptFileError, match=DAMAGES[damage]):
        measure_sizes(edited(int8_bytes, damage))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"TFL3", "not a .tflite file"),
        (b"\x89PNG" + bytes(200), "not a .tflite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "damaged"),
    ],
)
def test_what_is_no_tflite_file_is_refused_by_every_door(tmp_path, content, complaint):
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    for use in (LitertModel.open, benchmark, lambda path: compare([path, path])):
        with pytest.raises(CorruptFileError, match=complaint):
            use(path)


def test_what_the_runtime_refuses_is_a_corrupt_file(int8_bytes):
    def wrong_shape(model):
        convolution = model.subgraphs[0].operators[0]
        convolution.inputs = convolution.inputs[:1]

    broken = edited(int8_bytes, wrong_shape)
    for trusted in (False, True):
        with pytest.raises(CorruptFileError, match="runtime refuses"):
            LitertModel.open(broken, trusted=trusted)


def test_an_operator_that_the_runtime_lacks_is_named(int8_bytes):
    def custom(model):
        code = model.operatorCodes[0]
        code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"Sparkle"

    with pytest.raises(UnsupportedModelError, match="Sparkle"):
        LitertModel.open(edited(int8_bytes, custom))


FUZZ = """
import random, sys
from tf_metacompress.deploy import LitertModel, measure_sizes
from tf_metacompress.errors import CorruptFileError, UnsupportedModelError

data = open(sys.argv[1], "rb").read()
random.seed(0)
refused = opened = 0
for turn in range(400):
    mutant = bytearray(data)
    for _ in range(random.choice([1, 3, 10])):
        place = random.randrange(len(mutant) if turn % 2 else 2000)
        mutant[place] = random.choice([0, 1, 127, 128, 255, random.randrange(256)])
    if turn % 4 == 0:
        del mutant[random.randrange(len(mutant)):]
    try:
        measure_sizes(bytes(mutant))
        opened += 1
        if opened % 20 == 0:
            LitertModel.open(bytes(mutant))
    except (CorruptFileError, UnsupportedModelError):
        refused += 1
assert "tensorflow" not in sys.modules
print(refused)
"""


@pytest.mark.slow
def test_mutated_files_give_an_error_or_are_read_and_need_no_tensorflow(exports, tmp_path):
    script = tmp_path / "fuzz.py"
    script.write_text(FUZZ)
    refused = int(run_script(str(script), exports["int8", "int8"].path))
    assert 100 < refused < 400
