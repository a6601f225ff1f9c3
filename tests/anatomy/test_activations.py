"""Where the activated result of a layer is found."""

import keras
import pytest

from tf_metacompress.anatomy import activation_layers, trace

layers = keras.layers


def model_of(*after, size=6, **kwargs):
    stack = [keras.Input((8, 8, 3)), layers.Conv2D(size, 3, name="conv", **kwargs), *after]
    return keras.Sequential([*stack, layers.Flatten(name="flat"), layers.Dense(2, name="head")])


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (lambda: model_of(activation="relu"), "conv"),
        (lambda: model_of(layers.ReLU(name="act")), "act"),
        (lambda: model_of(layers.BatchNormalization(), layers.ReLU(name="act")), "act"),
        (lambda: model_of(layers.Activation("gelu", name="act")), "act"),
        (lambda: model_of(layers.LeakyReLU(name="act")), "act"),
        (lambda: model_of(layers.MaxPooling2D(), layers.ReLU()), None),
        (lambda: model_of(), None),
    ],
)
def test_the_activation_is_the_own_or_the_one_behind(model, place):
    found = activation_layers(trace(model()))
    assert found == ({} if place is None else {"conv": place})


def test_a_result_read_twice_or_added_has_none():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="a")(inputs)
    added = layers.ReLU()(layers.Add()([layers.Dense(4, name="b")(shared), shared]))
    outputs = layers.ReLU(name="act")(layers.Dense(4, name="c")(added))
    assert activation_layers(trace(keras.Model(inputs, outputs))) == {"c": "act"}


def test_recurrent_and_embedding_layers_have_none():
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.LSTM(3),
            layers.Dense(2, activation="relu", name="head"),
        ]
    )
    assert activation_layers(trace(model)) == {"head": "head"}


def test_channels_must_lie_on_the_last_axis():
    model = keras.Sequential(
        [keras.Input((6, 8)), layers.Conv1D(4, 1, activation="relu", name="a"), layers.Flatten()]
    )
    assert activation_layers(trace(model)) == {"a": "a"}
    turned = keras.Sequential([keras.Input((6, 8)), layers.Permute((2, 1)), layers.ReLU()])
    assert activation_layers(trace(turned)) == {}
