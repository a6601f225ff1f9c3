"""Four honest sizes, and the constants they are made of."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tf_metacompress.deploy import measure_sizes
from tf_metacompress.deploy.constants import constants, is_weight, real_values, stored_values
from tf_metacompress.deploy.flatfile import TensorInfo
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.sizes import nonzero_count


def make_tensor(kind, values, shape, **quantization):
    settings = {"scales": np.zeros(0), "zero_points": np.zeros(0, np.int64), "axis": 0}
    return TensorInfo(
        index=0,
        name="constant",
        type=kind,
        shape=shape,
        buffer=1,
        data=np.frombuffer(np.asarray(values).tobytes(), np.uint8),
        sparse=False,
        **(settings | quantization),
    )


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8"])
def test_constants_are_those_the_runtime_shows(exports, mode):
    data = Path(exports[mode, "float32"].path).read_bytes()
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    compared = 0
    for tensor in read_flatfile(data).main.tensors:
        if tensor.is_constant and tensor.type != "int4":
            expected = interpreter.get_tensor(tensor.index)
            np.testing.assert_array_equal(stored_values(tensor), expected)
            compared += 1
    assert compared >= 5


def test_four_bit_integers_are_unpacked_lowest_first():
    packed = np.array([0x2F, 0x80, 0x07], np.uint8)
    scale = {"scales": np.array([0.5]), "zero_points": np.array([0])}
    tensor = make_tensor("int4", packed, (5,), **scale)
    assert stored_values(tensor).tolist() == [-1, 2, 0, -8, 7]
    assert real_values(tensor).tolist() == [-0.5, 1.0, 0.0, -4.0, 3.5]
    assert nonzero_count(tensor) == (4, 5)


def test_two_bit_integers_are_unpacked():
    assert stored_values(make_tensor("int2", np.uint8([0b11_10_01_00]), (4,))).tolist() == [
        0,
        1,
        -2,
        -1,
    ]


def test_zero_points_per_channel_count_as_zero():
    values = np.array([[3, 4], [5, -1]], np.int8)
    per_channel = {"scales": np.array([1.0, 2.0]), "zero_points": np.array([3, 5]), "axis": 0}
    tensor = make_tensor("int8", values, (2, 2), **per_channel)
    assert nonzero_count(tensor) == (2, 4)
    assert real_values(tensor).tolist() == [[0.0, 1.0], [0.0, -12.0]]


@pytest.mark.parametrize("kind", ["string", "resource"])
def test_what_has_no_plain_array_is_not_counted(kind):
    tensor = make_tensor(kind, np.uint8([1, 2]), (1,))
    assert stored_values(tensor) is None
    assert real_values(tensor) is None
    assert nonzero_count(tensor) == (0, 0)


@pytest.mark.parametrize("key", [("float32", "float32"), ("int8", "int8")])
def test_file_gzip_and_constant_bytes(exports, key):
    data = Path(exports[key].path).read_bytes()
    sizes = measure_sizes(data)
    assert sizes == exports[key].sizes
    assert sizes.file_bytes == len(data)
    assert sizes.gzip_bytes == len(gzip.compress(data, 9, mtime=0))
    held = {tensor.buffer: len(tensor.data) for tensor in constants(read_flatfile(data))}
    assert sizes.constant_bytes == sum(held.values()) < sizes.file_bytes


def test_nonzero_share_counts_weights_and_biases_only(cnn, exports):
    file = read_flatfile(Path(exports["float32", "float32"].path).read_bytes())
    weights = [stored_values(tensor) for tensor in constants(file) if is_weight(tensor)]
    nonzero = sum(np.count_nonzero(values) for values in weights)
    share = nonzero / sum(values.size for values in weights)
    assert exports["float32", "float32"].nonzero_share == pytest.approx(share)
    assert 0.4 < share < 0.6
    assert exports["int8", "int8"].nonzero_share == pytest.approx(share, abs=0.03)


def test_four_bits_halve_a_kernel(exports):
    by_mode = {
        mode: {entry.layer: entry.constant_bytes for entry in exports[mode, "float32"].layers}
        for mode in ("float32", "dynamic", "int8")
    }
    assert by_mode["int8"]["head"] * 2 == by_mode["dynamic"]["head"]
    assert by_mode["dynamic"]["head"] * 4 == by_mode["float32"]["head"]
