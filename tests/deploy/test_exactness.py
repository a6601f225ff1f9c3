"""What a student trains with is what its file holds: integers bit for bit, results to one step.

Exceptions, both of the runtime and none of rounding: the int8 file holds the tensor between the two
convolutions of a SeparableConv2D in int8, where Keras has no such tensor, and average pooling has
the range of its input.
"""

import functools
import tempfile

import keras
import numpy as np
import pytest

from tests.small_models import randomize
from tf_metacompress import Policy, Rule, compress
from tf_metacompress.deploy import LitertModel, export_litert
from tf_metacompress.deploy.constants import stored_values

layers = keras.layers

KINDS = {
    "dense": lambda: layers.Dense(5, name="layer"),
    "conv": lambda: layers.Conv2D(6, 3, name="layer"),
    "strided": lambda: layers.Conv2D(6, 3, strides=2, padding="same", name="layer"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"),
    "separable": lambda: layers.SeparableConv2D(6, 3, name="layer"),
    "transposed": lambda: layers.Conv2DTranspose(6, 3, strides=2, name="layer"),
    "conv1d": lambda: layers.Conv1D(6, 3, name="layer"),
    "grouped": lambda: layers.Conv2D(6, 3, groups=2, name="layer"),
    "dilated": lambda: layers.Conv2D(6, 3, dilation_rate=2, name="layer"),
}
SHAPES = {"dense": (24,), "conv1d": (12, 4)}
CHANNEL_AXES = {"depthwise_kernel": (2, 3), "depthwise": (2, 3), "transposed": (2,)}


def make_model(kind, with_norm):
    inputs = keras.Input(SHAPES.get(kind, (9, 9, 4)))
    x = KINDS[kind]()(inputs)
    if with_norm:
        x = layers.BatchNormalization(name="norm")(x)
    return randomize(keras.Model(inputs, layers.ReLU(name="relu")(x)))


def make_data(kind):
    """Samples that 8 bits hold without loss, as those of an image: multiples of 1/255."""
    shape = SHAPES.get(kind, (9, 9, 4))
    levels = np.random.default_rng(3).integers(0, 256, (12, *shape))
    levels[0].flat[:2] = 0, 255
    return (levels / 255).astype("float32")


def make_student(kind, with_norm, bits, sparsity):
    rule = Rule("layer", sparsity=sparsity, weight_bits=bits)
    student = compress(make_model(kind, with_norm), Policy([rule]))
    for _ in range(2):
        student(make_data(kind), training=True)
    return student


@functools.cache
def exported(kind, with_norm, bits, sparsity):
    """A student that has learned its ranges, the report of its file, and the file opened."""
    student, x = make_student(kind, with_norm, bits, sparsity), make_data(kind)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/m.tflite"
        report = export_litert(student, path, mode="int8", representative_dataset=x)
        opened = [LitertModel.open(path, trusted=True, keep_tensors=keep) for keep in (0, 1)]
    return student, report, opened


def integers_of_student(student, kind, bits):
    """The integers that the student computes with: kernel name to float32 rounding in NumPy."""
    compressor = student.compressors[0]
    found = {}
    for name in compressor.kernels:
        kernel = getattr(compressor.layer, name).numpy()
        if name in compressor.masks:
            kernel = kernel * compressor.masks[name].numpy()
        kept = CHANNEL_AXES.get(name, CHANNEL_AXES.get(kind, (kernel.ndim - 1,)))
        rest = tuple(axis for axis in range(kernel.ndim) if axis not in kept)
        largest = np.abs(kernel).max(axis=rest, keepdims=True)
        step = largest / np.float32(2 ** (bits - 1) - 1)
        found[name] = np.round(kernel / np.where(step > 0, step, np.float32(1)))
    return found


def signs(student, kind, name):
    """A negative gain of the BatchNormalization turns the integers of its channel around."""
    compressor = student.compressors[0]
    if compressor.batch_norm is None or name == "depthwise_kernel":
        return 1.0
    gamma = np.sign(student.network.get_layer("norm").gamma.numpy())
    if kind == "depthwise":
        return gamma.reshape(-1, 2)
    return gamma[:, None] if kind == "transposed" else gamma


def in_file_order(kernel, kind, name, tensor):
    if name == "depthwise_kernel" or kind == "depthwise":
        return kernel.reshape(tensor.shape)
    axis = -2 if kind == "transposed" else -1
    return np.moveaxis(kernel, axis, 0).reshape(tensor.shape)


SLOW = pytest.mark.slow
CASES = [
    pytest.param(True, 8, 0.6, id="norm-8-0.6"),
    pytest.param(False, 4, 0.0, id="bare-4-0", marks=SLOW),
    pytest.param(True, 4, 0.6, id="norm-4-0.6", marks=SLOW),
    pytest.param(True, 8, 0.0, id="norm-8-0", marks=SLOW),
    pytest.param(True, 4, 0.0, id="norm-4-0", marks=SLOW),
    pytest.param(False, 8, 0.0, id="bare-8-0", marks=SLOW),
    pytest.param(False, 8, 0.6, id="bare-8-0.6", marks=SLOW),
    pytest.param(False, 4, 0.6, id="bare-4-0.6", marks=SLOW),
]


@pytest.mark.parametrize(("with_norm", "bits", "sparsity"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_integers_of_the_file_are_those_of_the_student(kind, with_norm, bits, sparsity):
    student, report, (opened, _) = exported(kind, with_norm, bits, sparsity)
    tensors = {tensor.name: tensor for tensor in opened.file.main.tensors}
    expected = integers_of_student(student, kind, bits)
    assert len(report.layers) == len(expected)
    for entry, (name, integers) in zip(report.layers, expected.items(), strict=True):
        tensor = tensors[entry.tensor]
        steps = 1 if bits == 8 or entry.stored == "int4" else 18
        signed = integers * signs(student, kind, name) * steps
        stored = stored_values(tensor)
        assert np.array_equal(stored, in_file_order(signed, kind, name, tensor))
        assert entry.exact
        assert np.count_nonzero(stored == 0) >= round(sparsity * integers.size)


@pytest.mark.parametrize(("with_norm", "bits", "sparsity"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_results_agree_to_one_step(kind, with_norm, bits, sparsity):
    student, report, both_ways = exported(kind, with_norm, bits, sparsity)
    assert report.ranges.used and not report.ranges.other
    point = next(c.output_range for c in student.compressors if c.output_range is not None)
    step = (float(point.range_max) - min(float(point.range_min), 0.0)) / 255
    x = make_data(kind)
    expected = student(x, training=False).numpy()
    for opened in both_ways:
        steps = np.abs(opened.predict(x) - expected) / step
        assert steps.max() < (4.01 if kind == "separable" else 1.01)
        assert np.mean(steps > 0.5) < (0.2 if kind == "separable" else 0.04)
