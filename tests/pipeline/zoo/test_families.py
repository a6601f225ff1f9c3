"""Random architectures: equal for equal seeds, within their bounds, of the family asked for."""

import keras
import numpy as np
import pytest

from tf_metacompress.anatomy import describe
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.pipeline.zoo import FAMILIES, build
from tf_metacompress.pipeline.zoo.families import MOST_MACS, MOST_PARAMETERS, count_macs, takes

SHAPES = {"conv1d": (12, 3)}
MARKS = {
    "plain": keras.layers.Conv2D,
    "residual": keras.layers.Add,
    "separable": keras.layers.DepthwiseConv2D,
    "inverted": keras.layers.DepthwiseConv2D,
    "squeeze_excite": keras.layers.Multiply,
    "mlp": keras.layers.Dense,
    "conv1d": keras.layers.Conv1D,
    "bottleneck": keras.layers.Add,
    "branched": keras.layers.Concatenate,
    "gated": keras.layers.Multiply,
}
WITHOUT_BATCH_NORM = ("plain", "mlp")


def of(family, seed=3):
    return build(family, SHAPES.get(family, (8, 8, 1)), 5, seed)


def has(model, kind):
    return any(isinstance(layer, kind) for layer in model.layers)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_what_its_name_says(family):
    model = of(family)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(model(x).numpy().sum(axis=-1), 1.0, rtol=1e-5)
    assert model.output_shape == (None, 5)
    assert has(model, MARKS[family])
    assert has(model, keras.layers.BatchNormalization) or family in WITHOUT_BATCH_NORM
    assert model.count_params() <= MOST_PARAMETERS
    assert count_macs(model) == sum(info.macs for info in describe(model)) <= MOST_MACS


def test_the_seed_decides_architecture_and_weights():
    first, again, other = of("mlp"), of("mlp"), of("mlp", seed=4)
    assert first.get_config()["layers"] == again.get_config()["layers"]
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.count_params() != other.count_params()


@pytest.mark.slow
def test_sizes_spread_over_orders_of_magnitude():
    params = sorted(build("mlp", (8, 8, 1), 10, seed).count_params() for seed in range(6))
    assert params[-1] > 20 * params[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plane", (8, 8, 1), 10, 0), "plain"),
        (("plain", (8, 8), 10, 0), "takes inputs of 3 axes"),
        (("conv1d", (8, 8, 1), 10, 0), "takes inputs of 2 axes"),
        (("mlp", (8, 0, 1), 10, 0), "shape"),
        (("plain", (8, 8, 1), 1, 0), "num_classes"),
        (("plain", (8, 8, 1), 10, -1), "seed"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        build(*arguments)


def test_which_inputs_a_family_takes():
    assert [family for family in FAMILIES if takes(family, (100, 6))] == ["mlp", "conv1d"]
    assert [family for family in FAMILIES if not takes(family, (8, 8, 1))] == ["conv1d"]
