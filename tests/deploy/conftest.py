"""One model and its files in every mode, made once for all tests of shipping."""

import keras
import numpy as np
import pytest

from tests.small_models import randomize
from tf_metacompress.deploy import export_litert

layers = keras.layers


def on_grid(kernel, bits):
    """Rounds a kernel, output channels last, to the symmetric per-channel grid."""
    levels = 2 ** (bits - 1) - 1
    rest = tuple(range(kernel.ndim - 1))
    largest = np.abs(kernel).max(axis=rest, keepdims=True)
    scale = np.where(largest > 0, largest, 1) / levels
    return np.round(kernel / scale) * scale


def pruned(kernel, sparsity):
    return np.where(np.abs(kernel) < np.quantile(np.abs(kernel), sparsity), 0, kernel)


def make_cnn():
    """8-bit and 4-bit layers, zeros in both, BatchNormalization behind three kinds."""
    inputs = keras.Input((12, 12, 1), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="stem")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="bn_stem")(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="bn_depthwise")(x))
    x = layers.Conv2D(6, 3, name="four_bits", activation="relu")(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(4, activation="softmax", name="head")(x)
    model = randomize(keras.Model(inputs, outputs, name="cnn"))
    for name, bits, sparsity in (("stem", 8, 0.5), ("four_bits", 4, 0.6), ("head", 4, 0.5)):
        layer = model.get_layer(name)
        layer.kernel.assign(on_grid(pruned(layer.kernel.numpy(), sparsity), bits))
    return model


@pytest.fixture(scope="session")
def cnn():
    return make_cnn()


@pytest.fixture(scope="session")
def data():
    return np.random.default_rng(1).random((48, 12, 12, 1)).astype("float32")


@pytest.fixture(scope="session")
def exports(cnn, data, tmp_path_factory):
    """Reports by (mode, io_dtype)."""
    folder = tmp_path_factory.mktemp("exports")
    chosen = [
        ("float32", "float32"),
        ("float16", "float32"),
        ("dynamic", "float32"),
        ("int8", "float32"),
        ("int8", "int8"),
    ]
    return {
        (mode, io_dtype): export_litert(
            cnn,
            folder / f"{mode}_{io_dtype}.tflite",
            mode=mode,
            io_dtype=io_dtype,
            representative_dataset=data,
        )
        for mode, io_dtype in chosen
    }
