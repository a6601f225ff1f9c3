"""Each kernel is found in the file by its values, whatever the converter named it."""

import keras
import numpy as np
import pytest

from tests import small_models
from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.layer_map import map_layers

layers = keras.layers


def mapped(model, kernels=None):
    file = read_flatfile(convert_float(model).data)
    return map_layers(file, kernel_arrays(model) if kernels is None else kernels)


def ops_by_layer(entries):
    found = {}
    for entry in entries:
        found.setdefault(entry.layer, []).append(entry.op)
    return found


def transposed_net():
    stack = [
        layers.Conv2DTranspose(3, 3, strides=2, name="up"),
        layers.Conv2D(6, 3, dilation_rate=2, groups=3, name="grouped"),
        layers.Conv2D(4, 1, name="point"),
    ]
    return small_models.randomize(keras.Sequential([keras.Input((5, 5, 2)), *stack]))


def one_dimensional_net():
    stack = [
        layers.Conv1D(4, 3, name="conv"),
        layers.DepthwiseConv1D(2, name="depthwise"),
        layers.SeparableConv1D(5, 2, name="separable"),
        layers.Dense(3, name="dense"),
    ]
    return small_models.randomize(keras.Sequential([keras.Input((12, 3)), *stack]))


SEPARABLE = ["DEPTHWISE_CONV_2D", "CONV_2D"]
CASES = {
    "batch_norm": (
        small_models.conv_net,
        {
            "conv": ["CONV_2D"],
            "depthwise": ["DEPTHWISE_CONV_2D"],
            "separable": SEPARABLE,
            "head": ["FULLY_CONNECTED"],
        },
    ),
    "nested": (
        small_models.nested_net,
        {
            "backbone/conv": ["CONV_2D"],
            "backbone/inner/conv": ["CONV_2D"],
            "head": ["FULLY_CONNECTED"],
        },
    ),
    "shared": (
        small_models.shared_net,
        {"shared": ["FULLY_CONNECTED"], "head": ["FULLY_CONNECTED"]},
    ),
    "transposed": (
        transposed_net,
        {"up": ["TRANSPOSE_CONV"], "grouped": ["CONV_2D"], "point": ["CONV_2D"]},
    ),
    "one_dimensional": (
        one_dimensional_net,
        {
            "conv": ["CONV_2D"],
            "depthwise": ["DEPTHWISE_CONV_2D"],
            "separable": SEPARABLE,
            "dense": ["FULLY_CONNECTED"],
        },
    ),
}


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_every_kernel_is_found_by_value(case, folded):
    make, expected = CASES[case]
    model = make()
    entries = mapped(model, kernel_arrays(model, folded=folded))
    assert ops_by_layer(entries) == expected
    assert all(entry.by_value for entry in entries)
    assert len({entry.tensor for entry in entries}) == len(entries)


def test_subclassed_models_are_mapped():
    model = small_models.subclassed_net()
    compressible = {info.name for info in describe(model) if info.compressible}
    assert {entry.layer for entry in mapped(model)} == compressible


def alike_convolutions(kernels):
    stack = [
        layers.Conv2D(3, 2, padding="same", name=f"conv{index}", activation="relu")
        for index in range(len(kernels))
    ]
    model = keras.Sequential([keras.Input((6, 6, 3)), *stack])
    for layer, kernel in zip(stack, kernels, strict=True):
        layer.kernel.assign(kernel)
        layer.bias.assign(np.random.default_rng(5).normal(size=3))
    return model


def test_layers_of_one_shape_are_told_apart_by_value_not_by_order():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 2, 2, 3, 3)).astype("float32")
    model = alike_convolutions([first, second])
    entries = mapped(model, {"b": (second,), "a": (first,)})
    assert [(entry.layer, entry.op_index) for entry in entries] == [("b", 1), ("a", 0)]


def test_kernels_without_a_direction_are_told_apart_by_order():
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(2, 2, 3, 3)).astype("float32")
    entries = mapped(alike_convolutions([np.zeros_like(kernel), kernel, 2 * kernel]))
    assert [(entry.layer, entry.by_value) for entry in entries] == [
        ("conv0", False),
        ("conv1", True),
        ("conv2", True),
    ]
    assert [entry.op_index for entry in entries] == [0, 1, 2]


def test_equal_kernels_may_share_a_tensor():
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype("float32")
    entries = mapped(alike_convolutions([kernel, kernel]))
    assert [entry.layer for entry in entries] == ["conv0", "conv1"]


def test_what_is_not_in_the_file_is_left_out():
    model = small_models.dense_net()
    stranger = np.ones((7, 5), "float32")
    assert mapped(model, {"stranger": (stranger,)}) == ()


def test_the_report_names_tensors_and_layers_not_found(tmp_path, monkeypatch):
    kernels = {"stranger": (np.ones((7, 5), "float32"),)}
    monkeypatch.setattr(
        "tf_metacompress.deploy.export_job.kernel_arrays",
        lambda model, folded: kernel_arrays(model, folded=folded) | kernels,
    )
    report = export_litert(small_models.dense_net(), tmp_path / "m.tflite")
    assert report.layers_not_found == ("stranger",)
    assert any("stranger" in warning for warning in report.warnings)
    file = read_flatfile((tmp_path / "m.tflite").read_bytes())
    names = {tensor.name for tensor in file.main.tensors}
    assert set(report.layer_tensors) == {"hidden", "head"}
    assert {name for tensors in report.layer_tensors.values() for name in tensors} <= names
