"""Mode "sparse": what is listed are the weights, and the runtime computes the same with them."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.small_models import randomize
from tf_metacompress.deploy import LitertModel, export_litert, inspect_litert
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.deploy.modes import get_mode
from tf_metacompress.deploy.modes.inner_buffers import pack
from tf_metacompress.deploy.modes.mode import ModeOptions
from tf_metacompress.errors import UnsupportedModelError

layers = keras.layers


def with_zeros(model, zeros):
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = layer.kernel.numpy()
            limit = np.quantile(np.abs(kernel), zeros)
            layer.kernel.assign(np.where(np.abs(kernel) < limit, 0, kernel))
    return model


def dense_net(zeros, width=300):
    stack = [layers.Dense(20, activation="relu", name="wide"), layers.Dense(3, name="head")]
    return with_zeros(randomize(keras.Sequential([keras.Input((width,)), *stack])), zeros)


def pointwise_net(zeros):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, 2, activation="relu", name="stem")(inputs)
    x = layers.Conv2D(24, 1, activation="relu", name="pointwise")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    outputs = layers.Dense(4, name="head")(layers.Flatten()(x))
    return with_zeros(randomize(keras.Model(inputs, outputs)), zeros)


def decoded(tensor, content):
    """Fills in the zeros by a walk over rows, as the format describes them."""
    values, last = content.view(np.float32), tensor.sparsity.dimMetadata[-1]
    ends, columns = last.arraySegments.values, last.arrayIndices.values
    dense = np.zeros((len(ends) - 1, tensor.shape[-1]), np.float32)
    for row in range(len(ends) - 1):
        for place in range(ends[row], ends[row + 1]):
            dense[row, columns[place]] = values[place]
    return dense.reshape(tensor.shape)


def sparse_tensors(data):
    model = schema.ModelT.InitFromPackedBuf(data)
    return {
        tensor.name.decode(): decoded(tensor, model.buffers[tensor.buffer].data)
        for tensor in model.subgraphs[0].tensors
        if tensor.sparsity
    }


def test_the_file_lists_the_weights_and_computes_what_keras_computes(tmp_path):
    model, path = dense_net(0.8), tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(9, 300)).astype("float32")
    report = export_litert(model, path, mode="sparse", representative_dataset=x)
    wide, head = report.layers
    assert (wide.sparse, wide.exact, wide.stored) == (True, True, "float32")
    assert wide.nonzero_share == pytest.approx(0.2, abs=0.01)
    stored = sparse_tensors(path.read_bytes())
    for entry in (wide, head):
        kernel = model.get_layer(entry.layer).kernel.numpy()
        np.testing.assert_array_equal(stored[entry.tensor], kernel.T)
    np.testing.assert_allclose(LitertModel.open(path).predict(x), model(x), rtol=1e-4, atol=1e-5)
    assert report.file_bytes < len(convert_float(model).data) / 2
    assert any("of none of them" in warning for warning in report.warnings)
    assert any(f"has {report.dense_gzip_bytes:,} B" in warning for warning in report.warnings)


@pytest.mark.slow
def test_pointwise_convolutions_are_named_and_the_rest_stays(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 8, 8, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    report = export_litert(
        pointwise_net(0.75), path, mode="sparse", representative_dataset=x, per_layer=True
    )
    encoded = {entry.layer for entry in report.layers if entry.sparse}
    assert encoded == {"stem", "pointwise", "head"}
    assert any("the zeros of pointwise:" in warning for warning in report.warnings)
    assert max(one.relative_error for one in report.parity.layers) < 1e-5
    assert any("sparse encoding: 3" in text for text in inspect_litert(path).remarks)


def test_kernels_without_two_thirds_of_zeros_are_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="two thirds of zeros; prune"):
        export_litert(dense_net(0.6, width=12), tmp_path / "m.tflite", mode="sparse")


def one_layer_file(values):
    """A file of one dense operator with that kernel, made without the converter."""
    rows, columns = values.shape
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = values.view(np.uint8).ravel()
    graph.tensors = []
    for name, shape in (("x", (1, columns)), ("kernel", values.shape), ("y", (1, rows))):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), np.array(shape, np.int32)
        tensor.buffer = int(name == "kernel")
        graph.tensors.append(tensor)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1], [2]
    graph.operators, graph.inputs, graph.outputs = [op], [0], [2]
    return pack(model, values.nbytes)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 400)),
        elements=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, -2.25]),
    )
)
@settings(max_examples=25, deadline=None)
def test_any_kernel_comes_back(values):
    data = one_layer_file(values)
    encode = get_mode("sparse").quantize
    if np.mean(values == 0) <= 2 / 3:
        with pytest.raises(UnsupportedModelError):
            encode(data, [], ModeOptions())
        return
    (stored,) = sparse_tensors(encode(data, [], ModeOptions())).values()
    np.testing.assert_array_equal(stored, values)
