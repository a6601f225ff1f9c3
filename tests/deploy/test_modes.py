"""What each mode stores. The integers of the int8 file are those of a few lines of NumPy."""

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.small_models import randomize
from tf_metacompress.deploy import ParityReport, export_litert, register_mode
from tf_metacompress.deploy.constants import real_values, stored_values
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.modes import Mode, get_mode, mode_names
from tf_metacompress.deploy.modes.inner_buffers import repacked
from tf_metacompress.errors import InvalidArgumentError, ParityError, UnsupportedModelError

layers = keras.layers


def stored(report):
    """Layer path to its tensor in the exported file."""
    tensors = {t.name: t for t in read_flatfile(read_model_file(report.path)).main.tensors}
    return {entry.layer: tensors[entry.tensor] for entry in report.layers}


def folded_kernel(model, name, norm=None):
    """Kernel with the gain of its BatchNormalization, output channels first."""
    layer = model.get_layer(name)
    kernel = layer.kernel.numpy().astype(np.float64)
    if norm:
        gain = model.get_layer(norm)
        factor = gain.gamma.numpy() / np.sqrt(gain.moving_variance.numpy() + gain.epsilon)
        kernel = kernel * (factor[:, None] if "depthwise" in name else factor)
    if "depthwise" in name:
        return kernel[..., 0].transpose(2, 0, 1)[..., None]
    return np.moveaxis(kernel, -1, 0)


def rounded(kernel, levels):
    """The symmetric per-channel integers of a kernel, output channels first."""
    rest = tuple(range(1, kernel.ndim))
    return np.round(kernel / (np.abs(kernel).max(axis=rest, keepdims=True) / levels))


# BatchNormalization, stored type, largest integer: level 7 of a 4-bit convolution becomes 126.
INT8_LAYERS = {
    "stem": ("bn_stem", "int8", 127),
    "depthwise": ("bn_depthwise", "int8", 127),
    "four_bits": (None, "int8", 126),
    "head": (None, "int4", 7),
}


@pytest.mark.parametrize("io_dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", INT8_LAYERS)
def test_integers_are_those_of_numpy_and_zeros_stay(cnn, exports, name, io_dtype):
    norm, stored_type, largest = INT8_LAYERS[name]
    tensor = stored(exports["int8", io_dtype])[name]
    assert tensor.type == stored_type
    integers = stored_values(tensor)
    if name == "depthwise":
        integers = integers.transpose(3, 1, 2, 0)
    expected = rounded(folded_kernel(cnn, name, norm), largest)
    assert np.array_equal(integers, expected)
    assert not integers[folded_kernel(cnn, name) == 0].any()


@pytest.mark.parametrize("name", ["four_bits", "head"])
def test_four_bit_layers_lose_nothing(cnn, exports, name):
    values = real_values(stored(exports["int8", "int8"])[name])
    np.testing.assert_allclose(values, folded_kernel(cnn, name), rtol=5e-7)


def test_zeros_of_the_policy_survive_export(cnn, exports):
    for name in ("stem", "four_bits", "head"):
        integers = stored_values(stored(exports["int8", "int8"])[name])
        assert (integers == 0).mean() == pytest.approx(np.mean(cnn.get_layer(name).kernel == 0))


@pytest.mark.parametrize(
    ("mode", "types"),
    [("float32", {"float32"}), ("float16", {"float16"}), ("dynamic", {"int8"})],
)
def test_stored_types(exports, mode, types):
    assert set(exports[mode, "float32"].stored_types.values()) == types
    assert exports[mode, "float32"].not_int8 == ()


@pytest.mark.parametrize(
    ("mode", "io_dtype"), [("dynamic", "float32"), ("int8", "float32"), ("int8", "int8")]
)
def test_equal_vectors_are_in_the_file_once(exports, mode, io_dtype):
    data = read_model_file(exports[mode, io_dtype].path)
    assert data == repacked(data)
    assert len(data) < len(packed_apart(data))


def packed_apart(data):
    builder = flatbuffers.Builder(len(data))
    builder.Finish(schema.ModelT.InitFromPackedBuf(data).Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("io_dtype", ["float32", "int8"])
def test_io_dtypes(exports, io_dtype):
    interpreter = Interpreter(model_path=exports["int8", io_dtype].path)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details() + interpreter.get_output_details():
        assert detail["dtype"] == np.dtype(io_dtype)
    ops = [
        op.name for op in read_flatfile(read_model_file(exports["int8", io_dtype].path)).main.ops
    ]
    borders = (ops[0], ops[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert borders == (io_dtype == "float32")


def test_everything_that_is_not_int8_is_listed_with_what_it_is(exports):
    notes = {note.what for note in exports["int8", "float32"].not_int8}
    assert {"input of the file", "output of the file", "4-bit weights of FULLY_CONNECTED"} <= notes
    assert {"bias of CONV_2D", "bias of DEPTHWISE_CONV_2D", "constant of RESHAPE"} <= notes
    notes = {note.type for note in exports["int8", "int8"].not_int8}
    assert notes == {"int32", "int4"}


def test_a_pruned_channel_keeps_its_bias(tmp_path):
    inputs = keras.Input((6, 6, 2))
    outputs = layers.Conv2D(3, 3, name="conv")(inputs)
    model = keras.Model(inputs, outputs)
    kernel = model.get_layer("conv").kernel.numpy()
    kernel[..., 1] = 0.0
    kernel[..., 2] *= 1e-20
    model.get_layer("conv").kernel.assign(kernel)
    model.get_layer("conv").bias.assign([0.1, 1.5, 1.0])
    x = np.random.default_rng(0).normal(size=(20, 6, 6, 2)).astype("float32")
    report = export_litert(model, tmp_path / "m.tflite", mode="int8", representative_dataset=x)
    assert report.parity.relative_error < 0.02


def test_layers_and_activations_of_zeros_only(tmp_path):
    inputs = keras.Input((6,))
    x = layers.Dense(5, kernel_initializer="zeros", use_bias=False, name="dead")(inputs)
    x = layers.Dense(4, activation="relu", name="after")(x)
    model = keras.Model(inputs, layers.Dense(3, bias_initializer="ones", name="head")(x))
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    for io_dtype in ("float32", "int8"):
        report = export_litert(
            model, tmp_path / "m.tflite", mode="int8", io_dtype=io_dtype, representative_dataset=x
        )
        assert report.parity.relative_error < 0.01


@pytest.mark.parametrize(
    ("mode", "io_dtype"),
    [("int8", "float32"), ("int8", "int8"), ("dynamic", "float32"), ("float16", "float32")],
)
def test_the_constants_of_a_larger_model_are_inside_the_flatbuffer(mode, io_dtype, tmp_path):
    inputs = keras.Input((600,))
    x = layers.Dense(500, activation="relu", name="wide")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    x = np.random.default_rng(0).normal(size=(20, 600)).astype("float32")
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode=mode, io_dtype=io_dtype, representative_dataset=x)
    assert report.file_bytes > 256 * 1024
    assert report.parity.relative_error < 0.05
    file = schema.Model.GetRootAs(path.read_bytes(), 0)
    assert all(file.Buffers(index).Offset() == 0 for index in range(file.BuffersLength()))
    kernel = folded_kernel(model, "wide")
    step = np.abs(kernel).max() / 127
    np.testing.assert_allclose(real_values(stored(report)["wide"]), kernel, atol=0.501 * step)


@pytest.mark.parametrize("io_dtype", ["float32", "int8"])
def test_an_output_that_another_layer_reads_too(io_dtype, tmp_path):
    inputs = keras.Input((6,), name="x")
    features = layers.Dense(5, activation="relu", name="features")(inputs)
    model = keras.Model(inputs, [features, layers.Dense(3, name="scores")(features), inputs])
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    report = export_litert(
        randomize(model),
        tmp_path / "m.tflite",
        mode="int8",
        io_dtype=io_dtype,
        representative_dataset=x,
    )
    names = {output.name for output in report.parity.outputs}
    assert {"features", "scores"} < names
    assert report.parity.relative_error < 0.05


def test_integer_inputs_stay_integers(tmp_path):
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Flatten()(layers.Embedding(10, 4)(tokens))
    model = randomize(keras.Model(tokens, layers.Dense(2)(x)))
    x = np.random.default_rng(0).integers(0, 10, (20, 5))
    path = tmp_path / "m.tflite"
    export_litert(model, path, mode="int8", io_dtype="int8", representative_dataset=x)
    interpreter = Interpreter(model_path=str(path))
    assert interpreter.get_input_details()[0]["dtype"] == np.int32
    assert interpreter.get_output_details()[0]["dtype"] == np.int8


def recurrent_net(unroll=False):
    stack = [
        layers.Conv1D(4, 3, padding="same", activation="relu", name="conv"),
        layers.LSTM(5, return_sequences=True, unroll=unroll, name="lstm"),
        layers.GRU(4, name="gru"),
        layers.Dense(2, name="head"),
    ]
    return randomize(keras.Sequential([keras.Input((6, 3)), *stack]))


@pytest.mark.slow
def test_a_loop_computes_in_float32_and_all_around_it_in_int8(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 6, 3)).astype("float32")
    model = recurrent_net()
    for mode in ("int8", "int16x8"):
        report = export_litert(model, tmp_path / "m.tflite", mode=mode, representative_dataset=x)
        assert report.parity.relative_error < (0.05 if mode == "int8" else 0.01)
        assert report.stored_types == dict.fromkeys(("conv", "lstm", "gru", "head"), "int8")
        for graph in read_flatfile(read_model_file(report.path)).subgraphs[1:]:
            made = [graph.tensors[index] for op in graph.ops for index in op.outputs]
            assert {tensor.type for tensor in made} <= {"float32", "int32", "bool"}
        assert any("WHILE" in warning for warning in report.warnings)
    for mode in ("float32", "float16", "dynamic"):
        export_litert(model, tmp_path / "m.tflite", mode=mode, representative_dataset=x)


def test_what_int8_cannot_express_is_an_error_that_names_the_layer(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 6, 3)).astype("float32")
    with pytest.raises(UnsupportedModelError, match="'lstm'.*unroll=False"):
        export_litert(
            recurrent_net(unroll=True),
            tmp_path / "m.tflite",
            mode="int8",
            representative_dataset=x,
        )
    assert list(tmp_path.iterdir()) == []


def test_calibration_does_not_depend_on_the_order_of_the_samples(cnn, data, tmp_path):
    reports = [
        export_litert(cnn, tmp_path / "m.tflite", mode="int8", representative_dataset=samples)
        for samples in (data, data[::-1])
    ]
    assert reports[0].sha256 == reports[1].sha256


def test_an_unknown_mode_suggests_a_near_one():
    with pytest.raises(InvalidArgumentError, match="Did you mean 'float16'"):
        get_mode("flaot16")


def test_a_new_mode_is_one_registration(cnn, data, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_metacompress.deploy.modes.mode._MODES", {})
    seen = []

    def keep(file, samples, options):
        seen.append((len(samples), options.io_dtype))
        return file

    register_mode(Mode(name="plain", quantize=keep, tolerance=1e-3, needs_data=True))
    assert mode_names() == ("plain",)
    report = export_litert(cnn, tmp_path / "m.tflite", mode="plain", representative_dataset=data)
    assert seen == [(48, "float32")]
    assert report.num_calibration_samples == 48


def imbalanced_net(factor):
    """The same function for any factor, but one channel dwarfs the others inside."""
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(x)
    model = keras.Model(inputs, layers.Dense(4, name="head")(layers.Flatten()(x)))
    generator = np.random.default_rng(3)
    for variable in model.variables:
        variable.assign(generator.normal(size=variable.shape))
    scale = np.ones(8, "float32")
    scale[0] = factor
    conv, depthwise = model.get_layer("conv"), model.get_layer("depthwise")
    conv.kernel.assign(conv.kernel * scale)
    conv.bias.assign(conv.bias * scale)
    depthwise.kernel.assign(depthwise.kernel / scale[:, None])
    return model


def test_a_healthy_int8_file_passes_and_a_collapsed_one_fails(tmp_path):
    x = np.random.default_rng(0).random((40, 6, 6, 1)).astype("float32")
    path = tmp_path / "m.tflite"
    healthy, collapsed = imbalanced_net(1.0), imbalanced_net(5000.0)
    np.testing.assert_allclose(healthy(x), collapsed(x), rtol=1e-3, atol=1e-3)
    report = export_litert(healthy, path, mode="int8", representative_dataset=x)
    assert report.parity.relative_error < 0.1
    earlier = path.read_bytes()
    with pytest.raises(ParityError, match="nothing was written.* part at layer 'dep") as caught:
        export_litert(collapsed, path, mode="int8", representative_dataset=x)
    parity = caught.value.report.parity
    assert [one.layer for one in parity.layers][:2] == ["conv", "depthwise"]
    assert parity.first_apart.layer == "depthwise"
    assert parity.layers[0].relative_error < 0.02
    assert isinstance(parity, ParityReport)
    assert parity.relative_error > 0.5
    assert path.read_bytes() == earlier
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]
    assert export_litert(collapsed, path, mode="float16", representative_dataset=x).parity.passed
