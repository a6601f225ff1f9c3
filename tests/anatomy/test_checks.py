"""What is refused before any work, and in which words."""

import keras
import numpy as np
import pytest

from tests.fresh_python import run_script
from tests.small_models import SubclassedNet, dense_net
from tf_metacompress.anatomy import check_keras_model, describe, gives_probabilities
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    UnsupportedModelError,
)

layers = keras.layers


def test_a_good_model_passes():
    check_keras_model(dense_net())


@pytest.mark.parametrize("value", [None, "model.keras", 3, keras.layers.Dense(3), keras.Model])
def test_what_is_not_a_model_is_a_type_error(value):
    with pytest.raises(ArgumentTypeError, match="`teacher` must be a Keras 3 model.*Received"):
        check_keras_model(value, "teacher")


def test_a_keras_2_model_is_recognised_by_its_module():
    legacy = type("Model", (), {"__module__": "tf_keras.src.engine.training"})
    custom = type("Mine", (legacy,), {"__module__": "__main__"})
    for value in (legacy(), custom()):
        with pytest.raises(UnsupportedModelError, match="is a Keras 2 model"):
            check_keras_model(value)


@pytest.mark.slow
def test_a_real_keras_2_model_is_recognised():
    run_script(
        "-c",
        """
import tf_keras
import tf_metacompress as tmc
model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
for work in (tmc.describe, lambda model: tmc.compress(model, tmc.Policy())):
    try:
        work(model)
    except tmc.errors.UnsupportedModelError as error:
        assert "is a Keras 2 model (tf_keras)" in str(error) and "\\n" not in str(error), error
    else:
        raise SystemExit("no error")
""",
    )


def test_a_model_that_is_not_built_is_an_error():
    for model in (SubclassedNet(), keras.Sequential([layers.Dense(2)])):
        with pytest.raises(InvalidArgumentError, match="must be built.*call it once"):
            check_keras_model(model)


@pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning")
def test_a_model_that_claims_to_be_built_without_weights_is_an_error():
    model = SubclassedNet()
    model.build((None, 8, 8, 1))  # Keras cannot know what `call` will do with this shape
    with pytest.raises(InvalidArgumentError, match="must be built.*call it once"):
        describe(model)
    assert not model.weights


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value):
    model = dense_net()
    kernel = model.get_layer("head").kernel.numpy()
    kernel[1, 2] = value
    model.get_layer("head").kernel.assign(kernel)
    with pytest.raises(InvalidArgumentError, match="NaN or infinite.*head/kernel"):
        describe(model)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([layers.Dense(3, "softmax")], True),
        ([layers.Dense(3), layers.Softmax()], True),
        ([layers.Dense(3), layers.Activation("softmax")], True),
        ([layers.Dense(3)], False),
        ([layers.Dense(3, "softmax"), layers.Dense(3)], False),
    ],
)
def test_probabilities_are_told_from_logits(last, expected):
    assert gives_probabilities(keras.Sequential([keras.Input((4,)), *last])) is expected
