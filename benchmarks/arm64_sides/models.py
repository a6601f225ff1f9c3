"""Files to compare: int8 nets of the usual operators, and 1 × 1 convolutions with more zeros."""

import contextlib
import io
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tf_metacompress as tmc

layers = keras.layers


def _residual():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, layers.Conv2D(16, 3, padding="same")(y)])
    x = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(layers.MaxPooling2D()(x))
    outputs = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name="residual")


def _separable():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu6")(inputs)
    for filters, strides in ((24, 1), (32, 2), (48, 2)):
        x = layers.DepthwiseConv2D(3, strides, padding="same", activation="relu6")(x)
        x = layers.Conv2D(filters, 1, activation="relu6")(x)
    outputs = layers.Dense(10)(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    return keras.Model(inputs, outputs, name="separable")


def _gated():
    inputs = keras.Input((64,))
    x = layers.Dense(48, activation="tanh")(inputs)
    x = layers.Multiply()([x, layers.Dense(48, activation="sigmoid")(inputs)])
    first = layers.Dense(10, activation="softmax", name="classes")(x)
    return keras.Model(inputs, [first, layers.Dense(3, name="values")(x)], name="gated")


def int8_files():
    """Name to bytes of nets with random weights, calibrated on random samples."""
    keras.utils.set_random_seed(0)
    return {
        f"{model.name}, int8": _exported(model) for model in (_residual(), _separable(), _gated())
    }


def _exported(model):
    shape = (64, *model.input_shape[1:])
    samples = np.random.default_rng(1).normal(size=shape).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        tmc.export_litert(
            model, path, mode="int8", io_dtype="int8", representative_dataset=samples, tolerance=1.0
        )
        return path.read_bytes()


def pointwise_file(zeros, encoded, *, width=64, depth=3, side=32):
    """A float net of 1 × 1 convolutions with a share of zeros, in the sparse encoding or not.

    It begins with what XNNPACK's sparse path asks for: a 3 × 3 convolution of stride 2 over three
    channels with one row and column of padding on every side.
    """
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 3), batch_size=1)
    x = layers.ZeroPadding2D(1)(inputs)
    x = layers.Conv2D(width, 3, 2, activation="relu")(x)
    for _ in range(depth):
        x = layers.Conv2D(width, 1, activation="relu", kernel_initializer="he_normal")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1):
            kernel = layer.kernel.numpy()
            smallest = np.argsort(np.abs(kernel), axis=None)[: round(zeros * kernel.size)]
            kernel.ravel()[smallest] = 0.0
            layer.kernel.assign(kernel)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if encoded:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with contextlib.redirect_stdout(io.StringIO()):
        return converter.convert()


def drawn(file, count, seed=0):
    """Samples for a file as it stores them: any integer, floats in [0, 1), zeros for indices."""
    rng = np.random.default_rng(seed)
    arrays = []
    for index in file.main.inputs:
        tensor = file.main.tensors[index]
        shape = (count, *tensor.shape)
        if tensor.type == "float32":
            arrays.append(rng.random(shape, np.float32))
        elif tensor.scales.size:
            limits = np.iinfo(tensor.type)
            arrays.append(rng.integers(limits.min, limits.max, shape, tensor.type, endpoint=True))
        else:
            arrays.append(np.zeros(shape, tensor.type))
    return arrays
