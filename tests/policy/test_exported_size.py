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
SPARSITIES = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95)


def plain_net():
    x = inputs = keras.Input((16, 16, 1))
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return randomize(keras.Model(inputs, layers.Dense(10, "softmax")(x)))


def separable_net():
    """Depthwise and pointwise convolutions, BatchNormalization, and a residual connection."""

    def block(x, layer):
        return layers.ReLU()(layers.BatchNormalization()(layer(x)))

    inputs = keras.Input((16, 16, 1))
    x = block(inputs, layers.Conv2D(24, 3, padding="same", use_bias=False))
    for filters in (48, 96, 128, 128):
        y = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        y = block(y, layers.Conv2D(filters, 1, use_bias=False))
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = layers.GlobalAveragePooling2D()(x)
    return heavy_tailed(randomize(keras.Model(inputs, layers.Dense(10)(x))))


def small_net():
    """About 18 KiB in int8, where the file around the kernels counts."""
    x = inputs = keras.Input((16, 16, 1))
    for filters in (12, 16, 24, 24):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return heavy_tailed(randomize(keras.Model(inputs, layers.Dense(10)(x))))


def heavy_tailed(model):
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(0.2 * generator.standard_t(4, layer.kernel.shape))
    return model


def mixed(count):
    generator = np.random.default_rng(2)
    return [(float(generator.choice(SPARSITIES)), int(b)) for b in generator.choice([4, 8], count)]


POLICIES = {
    "half at 8 bits": lambda count: [(0.5, 8)] * count,
    "tenth at 8 bits": lambda count: [(0.9, 8)] * count,
    "two fifths at 4 bits": lambda count: [(0.6, 4)] * count,
    "mixed": mixed,
}


def exported(model, path, mode):
    samples = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    tmc.export_litert(model, path, mode=mode, representative_dataset=samples, tolerance=100.0)
    data = path.read_bytes()
    return {"size_bytes": len(gzip.compress(data, 9)), "flash_bytes": len(data)}


def estimated_and_found(model, name, path):
    infos = describe(model)
    compressible = [info.name for info in infos if info.compressible]
    chosen = [Action(*pair) for pair in POLICIES[name](len(compressible))]
    actions = tuple(dict.fromkeys(chosen))
    table = cost_table(
        infos,
        kernel_arrays(model),
        device="android-arm64",
        actions=actions,
        resources=("size_bytes", "flash_bytes"),
    )
    plans = [
        LayerPlan(layer, action.sparsity, action.weight_bits)
        for layer, action in zip(compressible, chosen, strict=True)
    ]
    student = tmc.compress(model, tmc.Policy.from_plans(plans))
    estimate = table.total(np.array([actions.index(action) for action in chosen]))
    return estimate, exported(tmc.finalize(student), path, "int8")


@pytest.fixture(
    scope="module",
    params=[plain_net, pytest.param(separable_net, marks=pytest.mark.slow)],
    ids=["plain", "separable"],
)
def model(request):
    return request.param()


@pytest.mark.parametrize(
    "name",
    [name if name == "mixed" else pytest.param(name, marks=pytest.mark.slow) for name in POLICIES],
)
def test_the_estimate_is_within_a_tenth_of_the_file(model, name, tmp_path):
    estimate, found = estimated_and_found(model, name, tmp_path / "m.tflite")
    assert found["flash_bytes"] > 48 * 1024
    assert estimate == pytest.approx(found, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["half at 8 bits", "mixed"])
def test_the_estimate_holds_for_small_files_too(name, tmp_path):
    estimate, found = estimated_and_found(small_net(), name, tmp_path / "m.tflite")
    assert 15 * 1024 < found["flash_bytes"] < 25 * 1024
    assert estimate == pytest.approx(found, rel=0.1)


def test_the_reference_is_within_three_percent_of_the_float32_file(model, tmp_path):
    infos = describe(model)
    table = cost_table(infos, kernel_arrays(model), device="cortex-m", actions=(Action(),))
    found = exported(model, tmp_path / "m.tflite", "float32")
    estimate = {name: table.reference[name] for name in found}
    assert estimate == pytest.approx(found, rel=0.03)
