"""Kernels on an integer grid: recognised, and equal to Keras in the file whatever stores them."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.conftest import on_grid
from tests.small_models import conv_net, images, randomize
from tf_metacompress import Policy, Rule, compress, finalize
from tf_metacompress.anatomy import kernel_arrays
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.constants import real_values, stored_values
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.integer_grid import channel_levels, grid_bits
from tf_metacompress.deploy.interpreter import read_model_file

layers = keras.layers

NORMAL = np.random.default_rng(0).normal(size=(40, 3))
LEVELS = np.array([[7.0, 1.0, -2.0, 0.0]] * 4)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        *((on_grid(NORMAL, bits).T, bits) for bits in range(2, 9)),
        (NORMAL.T, None),
        (np.zeros((3, 40)), None),
        (np.zeros((3, 0)), None),
        (LEVELS[:1], 4),
        (LEVELS * np.array([[1.0], [0.0], [0.3], [5.0]]), 4),
        (np.array([[7.0, 0.0, 0.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]]), None),
        (np.array([[7.0, -7.0, 0.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]]), 2),
        (np.array([[7.0, -7.0, 0.0], [0.0, 0.1, 0.7], [0.0, 0.0, 0.0]]), 4),
        (np.array([[7.0, 1.0, -2.0001, 0.0]]), None),
        (2.0 ** -np.arange(7.0)[None], 8),
        (np.array([[200.0, 199.0, -3.0]]), 9),
    ],
    ids=[
        *(f"{bits} bits" for bits in range(2, 9)),
        "any",
        "zeros",
        "empty",
        "few",
        "dead channel",
        "one weight a channel",
        "one magnitude a channel",
        "two magnitudes in one channel",
        "off by a little",
        "powers of two",
        "too many levels",
    ],
)
def test_the_coarsest_grid_is_recognised(kernel, expected):
    assert grid_bits(kernel) == expected
    assert grid_bits(kernel.T, axis=1) == expected


@given(levels=st.lists(st.integers(-127, 127), min_size=2, max_size=40), scale=st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_levels_are_those_of_the_integers_without_their_common_divisor(levels, scale):
    kernel = (np.float32(scale) * np.array([levels], "float32")).astype("float32")
    expected = max(map(abs, levels)) // max(math.gcd(*levels), 1) or 1
    assert channel_levels(kernel).tolist() == [expected]


def transposed_net():
    inputs = keras.Input((5, 5, 2))
    x = layers.Conv2DTranspose(4, 3, strides=2, name="up")(inputs)
    x = layers.Conv2D(6, 3, groups=2, activation="relu", name="grouped")(x)
    x = layers.Reshape((-1, 6))(x)
    x = layers.Conv1D(5, 3, name="line")(x)
    return randomize(keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x))))


def exported(model, path, sparsity, shape):
    """The finalized 4-bit student, its report, and the weight tensor of each kernel."""
    student = compress(model, Policy([Rule("*", sparsity=sparsity, weight_bits=4)]))
    x, _ = images(32, shape=shape)
    report = export_litert(student, path, mode="int8", representative_dataset=x)
    tensors = {t.name: t for t in read_flatfile(read_model_file(path)).main.tensors}
    return finalize(student), report, [tensors[entry.tensor] for entry in report.layers]


def in_file_order(kernel, tensor):
    """Lays a folded Keras kernel out as a file does."""
    if tensor.axis == len(tensor.shape) - 1 and kernel.ndim > 2:
        return kernel.reshape(tensor.shape)
    axis = -2 if kernel.shape[-1] != tensor.shape[0] else -1
    return np.moveaxis(kernel, axis, 0).reshape(tensor.shape)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize(
    ("make", "shape"), [(conv_net, (8, 8, 1)), (transposed_net, (5, 5, 2))], ids=["conv", "other"]
)
def test_every_kind_of_layer_equals_keras_to_rounding(make, shape, sparsity, tmp_path):
    final, report, tensors = exported(make(), tmp_path / "m.tflite", sparsity, shape)
    kernels = kernel_arrays(final, folded=True)
    assert {(entry.grid_bits, entry.exact) for entry in report.layers} == {(4, True)}
    for entry, tensor in zip(report.layers, tensors, strict=True):
        assert entry.stored == ("int4" if entry.op == "FULLY_CONNECTED" else "int8")
        expected = in_file_order(kernels[entry.layer][entry.kernel], tensor)
        np.testing.assert_allclose(real_values(tensor), expected, rtol=2e-6)
        assert np.array_equal(stored_values(tensor) == 0, expected == 0)
        assert entry.stored == "int4" or not (stored_values(tensor) % 18).any()


def hand_made_net(kernel, bias):
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(4, 3, name="conv")])
    model.layers[0].kernel.assign(kernel)
    model.layers[0].bias.assign(bias)
    return model


def test_a_channel_that_needs_a_wider_range_gets_it_and_stays_exact(tmp_path):
    kernel = on_grid(np.random.default_rng(0).normal(size=(3, 3, 1, 4)), 4).astype("float32")
    kernel *= np.array([1.0, 1e-5, 1e-9, 0.0], "float32")
    x, _ = images(32, shape=(6, 6, 1))
    model = hand_made_net(kernel, [0.1, 7.0, 1.5, 1.0])
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    assert report.parity.relative_error < 0.02
    tensors = {t.name: t for t in read_flatfile(read_model_file(path)).main.tensors}
    tensor = tensors[report.layers[0].tensor]
    largest = np.abs(stored_values(tensor)).max(axis=(1, 2, 3))
    assert largest[0] == 126
    assert 0 < largest[1] < 126 and largest[1] % 7 == 0
    assert largest[2] == largest[3] == 0
    expected = np.moveaxis(kernel, -1, 0)[:2]
    np.testing.assert_allclose(real_values(tensor)[:2], expected, rtol=2e-6)


def test_plain_sparse_layers_are_int8(tmp_path):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(9, 4)) * np.eye(9)[:, :4]
    model = hand_made_net(kernel.reshape(3, 3, 1, 4), np.zeros(4))
    x, _ = images(32, shape=(6, 6, 1))
    path = tmp_path / "m.tflite"
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    assert (report.layers[0].stored, report.layers[0].grid_bits) == ("int8", None)
    assert report.layers[0].exact
    assert "4-bit" not in " ".join(report.warnings)


def per_tensor(kernel, bits):
    step = np.abs(kernel).max() / (2 ** (bits - 1) - 1)
    return np.round(kernel / step) * step


def clipped(kernel, bits):
    rest = tuple(range(kernel.ndim - 1))
    largest = 0.6 * np.abs(kernel).max(axis=rest, keepdims=True)
    step = largest / (2 ** (bits - 1) - 1)
    return np.round(np.clip(kernel, -largest, largest) / step) * step


def powers_of_two(kernel, bits):
    largest = np.abs(kernel).max()
    octaves = np.clip(np.round(-np.log2(np.abs(kernel) / largest)), 0, 2 ** (bits - 1) - 2)
    return np.sign(kernel) * largest * 2.0**-octaves


def asymmetric(kernel, bits):
    rest = tuple(range(kernel.ndim - 1))
    low, high = kernel.min(axis=rest, keepdims=True), kernel.max(axis=rest, keepdims=True)
    step = (high - low) / (2**bits - 1)
    zero = np.round(-low / step)
    return (np.clip(np.round(kernel / step) + zero, 0, 2**bits - 1) - zero) * step


def codebook(kernel, bits):
    values = np.quantile(kernel, (np.arange(2**bits) + 0.5) / 2**bits)
    return values[np.abs(kernel[..., None] - values).argmin(axis=-1)]


STORABLE = [(per_tensor, 6), (per_tensor, 8), (clipped, 5), (powers_of_two, 4), (asymmetric, 4)]


def net_with_kernels(quantize, bits):
    """A convolution, a depthwise and a dense layer with the same kind of weights in all."""
    inputs = keras.Input((9, 9, 2))
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    model = randomize(keras.Model(inputs, layers.Dense(4, name="dense")(layers.Flatten()(x))))
    for name in ("conv", "depthwise", "dense"):
        kernel = model.get_layer(name).kernel
        values = np.random.default_rng(5).normal(0.1, 0.4, kernel.shape)
        flat = values[..., 0] if name == "depthwise" else values
        kernel.assign(quantize(flat, bits).reshape(kernel.shape))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("quantize", "bits"), STORABLE)
@pytest.mark.parametrize(
    "mode",
    ["int8", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("dynamic", "int16x8"))],
)
def test_any_grid_of_at_most_127_levels_is_stored_exactly(quantize, bits, mode, tmp_path):
    model, path = net_with_kernels(quantize, bits), tmp_path / "m.tflite"
    x, _ = images(16, shape=(9, 9, 2))
    report = export_litert(model, path, mode=mode, representative_dataset=x)
    tensors = {t.name: t for t in read_flatfile(read_model_file(path)).main.tensors}
    kernels = kernel_arrays(model, folded=True)
    for entry in report.layers:
        assert entry.exact and entry.rounding_error < 1e-6
        assert entry.grid_bits is not None and entry.grid_bits <= 8
        expected = in_file_order(kernels[entry.layer][0], tensors[entry.tensor])
        np.testing.assert_allclose(real_values(tensors[entry.tensor]), expected, rtol=2e-6)
    assert "exact" in str(report)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_four_bits_and_fewer_are_packed_in_dense_layers(bits, tmp_path):
    model, path = net_with_kernels(per_tensor, bits), tmp_path / "m.tflite"
    x, _ = images(16, shape=(9, 9, 2))
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    assert report.stored_types == {"conv": "int8", "depthwise": "int8", "dense": "int4"}
    assert all(entry.exact for entry in report.layers)


@pytest.mark.parametrize(
    ("quantize", "bits", "words"),
    [(asymmetric, 8, "more than 127 levels"), (codebook, 4, "at most 16 values a channel")],
)
def test_what_a_file_cannot_store_is_said_with_its_error(quantize, bits, words, tmp_path):
    model, path = net_with_kernels(quantize, bits), tmp_path / "m.tflite"
    x, _ = images(16, shape=(9, 9, 2))
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    entry = next(entry for entry in report.layers if entry.layer == "dense")
    assert not entry.exact
    assert 1e-4 < entry.rounding_error < 0.02
    said = next(text for text in report.warnings if words in text)
    assert f"dense (off by {100 * entry.rounding_error:.2g}%)" in said
    tensor = next(
        t for t in read_flatfile(read_model_file(path)).main.tensors if t.name == entry.tensor
    )
    kernel = kernel_arrays(model, folded=True)["dense"][0].T
    relative = np.linalg.norm(real_values(tensor) - kernel) / np.linalg.norm(kernel)
    assert entry.rounding_error == pytest.approx(relative)
    if quantize is codebook:
        assert max(len(np.unique(row)) for row in stored_values(tensor)) <= 2**bits


def test_ordinary_weights_need_no_words(tmp_path):
    model, path = net_with_kernels(lambda kernel, bits: kernel, 0), tmp_path / "m.tflite"
    x, _ = images(16, shape=(9, 9, 2))
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    assert not any(entry.exact or entry.grid_bits or entry.codebook for entry in report.layers)
    assert not any("rounded to int8" in text for text in report.warnings)


def test_an_embedding_is_stored_exactly(tmp_path):
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(10, 4, name="table")(tokens))
    model, path = randomize(keras.Model(tokens, layers.Dense(2, name="head")(x))), tmp_path / "m"
    table = model.get_layer("table").embeddings
    table.assign(per_tensor(table.numpy(), 5))
    x = np.random.default_rng(0).integers(0, 10, (20, 5))
    report = export_litert(model, path, mode="int8", representative_dataset=x)
    entry = next(entry for entry in report.layers if entry.layer == "table")
    assert (entry.stored, entry.grid_bits, entry.exact) == ("int8", 5, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_bits": 3, "quantizer": "codebook"},
        *(
            pytest.param(fields, marks=pytest.mark.slow)
            for fields in (
                {"weight_bits": 6, "granularity": "per_tensor"},
                {"weight_bits": 5, "range_setting": "percentile"},
                {"weight_bits": 4, "quantizer": "affine"},
                {"weight_bits": 4, "quantizer": "log2"},
            )
        ),
    ],
    ids=lambda fields: "-".join(str(value) for value in fields.values()),
)
def test_whatever_a_student_trains_with_is_stored_exactly(fields, tmp_path):
    student = compress(conv_net(), Policy([Rule("*", sparsity=0.5, **fields)]))
    x, _ = images(16)
    student(x, training=True)
    report = export_litert(student, tmp_path / "m.tflite", mode="int8", representative_dataset=x)
    assert len(report.layers) == 5
    for entry in report.layers:
        assert entry.exact
        zeros = round((1 - entry.nonzero_share) * np.prod(entry.shape))
        assert zeros >= round(0.5 * np.prod(entry.shape))
