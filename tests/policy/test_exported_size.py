"""The estimated size of a compressed model against the file that is exported from it."""

import gzip

import keras
import numpy as np
import pytest

import tf_metacompress as tmc
from tests.small_models import randomize
from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.policy import Action, LayerPlan, cost_table

layers = keras.layers


def plain_net():
    x = inputs = keras.Input((16, 16, 1))
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def separable_net():
    def block(x, layer):
        return layers.ReLU()(layers.BatchNormalization()(layer(x)))

    inputs = keras.Input((16, 16, 1))
    x = block(inputs, layers.Conv2D(24, 3, padding="same", use_bias=False))
    for filters in (48, 96, 128, 128):
        x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        x = block(x, layers.Conv2D(filters, 1, use_bias=False))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def exported(model, path, mode):
    samples = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    tmc.export_litert(model, path, mode=mode, representative_dataset=samples, tolerance=100.0)
    data = path.read_bytes()
    return {"size_bytes": len(gzip.compress(data, 9)), "flash_bytes": len(data)}


@pytest.fixture(scope="module", params=[plain_net, separable_net])
def model(request):
    return randomize(request.param())


@pytest.mark.parametrize(("sparsity", "weight_bits"), [(0.5, 8), (0.9, 8), (0.6, 4)])
def test_the_estimate_is_within_a_tenth_of_the_file(model, sparsity, weight_bits, tmp_path):
    infos = describe(model)
    actions = tuple(dict.fromkeys((Action(sparsity, weight_bits), Action(sparsity, 8))))
    resources = ("size_bytes", "flash_bytes")
    table = cost_table(
        infos, kernel_arrays(model), device="android-arm64", actions=actions, resources=resources
    )
    choice = table.mask.argmax(axis=1)
    plans = [
        LayerPlan(name, sparsity, actions[index].weight_bits)
        for name, index in zip(table.layers, choice, strict=True)
    ]
    student = tmc.compress(model, tmc.Policy.from_plans(plans))
    found = exported(tmc.finalize(student), tmp_path / "m.tflite", "int8")
    assert found["flash_bytes"] > 50 * 1024 or weight_bits == 4
    assert table.total(choice) == pytest.approx(found, rel=0.1)


def test_the_reference_is_within_three_percent_of_the_float32_file(model, tmp_path):
    infos = describe(model)
    table = cost_table(infos, kernel_arrays(model), device="cortex-m", actions=(Action(),))
    found = exported(model, tmp_path / "m.tflite", "float32")
    estimate = {name: table.reference[name] for name in found}
    assert estimate == pytest.approx(found, rel=0.03)
