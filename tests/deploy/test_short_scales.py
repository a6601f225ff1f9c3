"""What a student of quantizer "short_scale" is worth: short scales and a smaller download."""

import keras
import numpy as np
import pytest

from tests.deploy.test_integer_grid import in_file_order
from tests.small_models import images, randomize
from tf_metacompress import Policy, Rule, compress, finalize
from tf_metacompress.anatomy import kernel_arrays
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.constants import real_values
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file

layers = keras.layers
pytestmark = pytest.mark.slow
STEPS = {3: 42, 4: 18, 8: 1}


def net():
    inputs = x = keras.Input((8, 8, 2))
    x = layers.Conv2D(24, 3, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Flatten()(layers.Conv2D(32, 1, name="last")(x))
    return randomize(keras.Model(inputs, layers.Dense(10, name="dense")(x)))


def exported(model, path, **fields):
    student = compress(model, Policy([Rule("*", **fields)]))
    x, _ = images(32, shape=(8, 8, 2))
    report = export_litert(student, path, mode="int8", representative_dataset=x)
    tensors = {t.name: t for t in read_flatfile(read_model_file(path)).main.tensors}
    return finalize(student), report, [tensors[entry.tensor] for entry in report.layers]


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_scales_are_short_in_the_file_which_equals_keras(bits, tmp_path):
    fields = {"weight_bits": bits, "sparsity": 0.5}
    final, report, tensors = exported(
        net(), tmp_path / "short.tflite", quantizer="short_scale", **fields
    )
    kernels = kernel_arrays(final, folded=True)
    for entry, tensor in zip(report.layers, tensors, strict=True):
        assert entry.exact and entry.grid_bits == bits
        expected = in_file_order(kernels[entry.layer][entry.kernel], tensor)
        np.testing.assert_allclose(real_values(tensor), expected, rtol=2e-6)
        steps = 1 if entry.stored == "int4" else STEPS[bits]
        rest = tuple(axis for axis in range(len(tensor.shape)) if axis != tensor.axis)
        used = np.abs(expected).max(rest) > 0
        fraction, _ = np.frexp(tensor.scales[used].astype("float64") * steps)
        np.testing.assert_allclose(fraction * 16, np.round(fraction * 16), rtol=1e-7)
        assert len(np.unique(np.frexp(tensor.scales)[0])) <= 8 * 2 + 1
    _, plain, _ = exported(net(), tmp_path / "plain.tflite", **fields)
    assert report.gzip_bytes < plain.gzip_bytes - 2.5 * (24 + 24 + 32 + 10)
