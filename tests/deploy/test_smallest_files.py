"""`slim` and `packed`: smaller files that compute what the others compute."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests import small_models
from tests.deploy.conftest import on_grid
from tf_metacompress import Policy, Rule
from tf_metacompress.deploy import ExportReport, export_litert, measure_micro, micro_process
from tf_metacompress.deploy.constants import real_values, stored_values
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.errors import InvalidArgumentError, UnsupportedModelError

layers = keras.layers
needs_micro = pytest.mark.skipif(
    micro_process.micro_version() is None, reason="tflite-micro is missing (extra micro)"
)


def opened(report):
    return read_flatfile(read_model_file(report.path))


def outputs(report, inputs):
    interpreter = Interpreter(report.path, num_threads=1)
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], []
    for sample in inputs:
        interpreter.set_tensor(given["index"], sample[None].astype(given["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.array(found)


def exported(model, path, data, **options) -> ExportReport:
    options = {"mode": "int8", "io_dtype": "int8", **options}
    return export_litert(model, path, representative_dataset=data, **options)


def recurrent_net():
    inputs = keras.Input((5, 4))
    return small_models.randomize(keras.Model(inputs, layers.Dense(3)(layers.LSTM(6)(inputs))))


@pytest.fixture(scope="module")
def slim(cnn, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("slim") / "m.tflite"
    return exported(cnn, path, data, slim=True, per_layer=True)


def test_a_slim_file_has_layer_names_and_computes_the_same_bits(slim, exports):
    full = exports["int8", "int8"]
    before, after = opened(full).main, opened(slim).main
    assert [tensor.name for tensor in after.tensors if tensor.is_constant and tensor.scales.size]
    assert {"stem", "stem/kernel", "stem/bias", "four_bits", "head/kernel"} <= {
        tensor.name for tensor in after.tensors
    }
    names = [tensor.name for tensor in after.tensors]
    assert len(set(names)) == len(names)
    saved = sum(len(t.name) for t in before.tensors) - sum(len(name) for name in names)
    assert saved > 500
    assert full.file_bytes - slim.file_bytes == pytest.approx(saved, rel=0.25)
    assert full.gzip_bytes - slim.gzip_bytes > 100
    inputs = np.random.default_rng(3).integers(-128, 128, (32, 12, 12, 1))
    assert np.array_equal(outputs(slim, inputs), outputs(full, inputs))


def test_a_slim_file_keeps_what_it_is_called_by(slim, exports):
    before, after = opened(exports["int8", "int8"]), opened(slim)
    for file in (before, after):
        assert file.input_names.keys() == {"image"}
    border = [
        [file.main.tensors[index].name for index in (*file.main.inputs, *file.main.outputs)]
        for file in (before, after)
    ]
    assert border[0] == border[1]
    assert before.metadata_names and not after.metadata_names


def test_report_and_layer_table_name_the_tensors_of_the_slim_file(slim, exports):
    names = {tensor.name for tensor in opened(slim).main.tensors}
    assert {entry.tensor for entry in slim.layers} <= names
    assert slim.stored_types == exports["int8", "int8"].stored_types
    compared = {one.layer: one.tensor for one in slim.parity.layers}
    assert compared["stem"] == "stem" and set(compared.values()) <= names
    assert {"stem", "depthwise", "four_bits", "head"} <= compared.keys()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int16x8"])
@pytest.mark.parametrize("make", [small_models.nested_net, recurrent_net])
def test_every_mode_and_loops_can_be_slim(tmp_path, mode, make):
    model = make()
    x = np.random.default_rng(0).normal(size=(16, *model.input_shape[1:])).astype("float32")
    options = {"mode": mode, "io_dtype": "float32"}
    full = exported(model, tmp_path / "full.tflite", x, **options)
    small = exported(model, tmp_path / "slim.tflite", x, slim=True, **options)
    assert small.file_bytes < full.file_bytes
    assert np.array_equal(outputs(small, x), outputs(full, x))


@pytest.mark.parametrize(
    ("packed", "types"),
    [
        pytest.param("none", ("int8", "int8"), marks=pytest.mark.slow),
        pytest.param("conv", ("int4", "int8"), marks=pytest.mark.slow),
        ("all", ("int4", "int4")),
    ],
)
def test_packed_says_which_four_bit_layers_take_half_a_byte(
    cnn, data, exports, tmp_path, packed, types
):
    report = exported(cnn, tmp_path / "m.tflite", data, packed=packed)
    assert report.stored_types == {
        "stem": "int8",
        "depthwise": "int8",
        "four_bits": types[0],
        "head": types[1],
    }
    before, after = (
        {entry.layer: entry for entry in one.layers} for one in (exports["int8", "int8"], report)
    )
    tensors = {tensor.name: tensor for tensor in opened(report).main.tensors}
    for name, kind in zip(("four_bits", "head"), types, strict=True):
        tensor = tensors[after[name].tensor]
        kernel = np.moveaxis(cnn.get_layer(name).kernel.numpy(), -1, 0)
        np.testing.assert_allclose(real_values(tensor), kernel, rtol=5e-7)
        assert np.abs(stored_values(tensor)).max() == (7 if kind == "int4" else 126)
        assert len(tensor.data) == kernel.size // (2 if kind == "int4" else 1)
        assert after[name].exact
    assert report.parity.relative_error < 2 * exports["int8", "int8"].parity.relative_error
    assert before["stem"] == after["stem"]
    slow = [text for text in report.warnings if "slower kernels: on x86" in text]
    assert bool(slow) == (types[0] == "int4")


@pytest.mark.slow
def test_packed_holds_in_mode_mixed_too(cnn, data, tmp_path):
    rules = [Rule("four_bits", weight_bits=4), Rule("*", weight_bits=8)]
    policy = Policy(rules)
    report = exported(
        cnn,
        tmp_path / "m.tflite",
        data,
        mode="mixed",
        io_dtype="float32",
        policy=policy,
        packed="all",
    )
    assert report.stored_types["four_bits"] == "int4"
    assert not [one for one in report.deviations if "no fast kernel" in one.why]


@needs_micro
@pytest.mark.slow
def test_tensorflow_lite_micro_runs_packed_convolutions_and_no_packed_dense_layers(tmp_path):
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = small_models.randomize(keras.Model(inputs, layers.Dense(4, name="head")(x)))
    for name in ("conv", "head"):
        layer = model.get_layer(name)
        layer.kernel.assign(on_grid(layer.kernel.numpy(), 4))
    x = np.random.default_rng(0).normal(size=(16, 10, 10, 3)).astype("float32")
    found = {}
    for packed in ("none", "conv", "all"):
        path = tmp_path / f"{packed}.tflite"
        exported(model, path, x, packed=packed, slim=True)
        if packed == "all":
            with pytest.raises(UnsupportedModelError, match="packed='conv'"):
                measure_micro(path, x)
        else:
            found[packed] = measure_micro(path, x)
    assert all(report.parity.passed for report in found.values())
    plain, packed = found["none"], found["conv"]
    assert plain.file_bytes - packed.file_bytes == pytest.approx(16 * 27 / 2, abs=16)
    # It unpacks the weights into the arena each time.
    assert 0 < packed.arena_bytes - plain.arena_bytes <= 16 * 27 + 64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"packed": "convs"}, "packed"),
        ({"packed": "all", "mode": "float16", "io_dtype": "float32"}, "modes int8 and mixed"),
        ({"slimm": True}, "slim"),
    ],
)
def test_what_is_refused_before_any_work(options, said, tmp_path):
    with pytest.raises(InvalidArgumentError, match=said):
        exported(None, tmp_path / "m.tflite", None, **options)
