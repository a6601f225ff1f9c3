"""A copied model computes what the original does, from state of its own."""

import keras
import numpy as np
import pytest

from tests.small_models import fingerprint, randomize
from tf_metacompress.anatomy import copy_model
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import leaf_layers

layers = keras.layers


class Strange(layers.Layer):
    """A layer that Keras has not been told of."""

    def build(self, shape):
        self.factor = self.add_weight(shape=shape[-1:])

    def call(self, inputs):
        return inputs * self.factor


def adapted():
    normalization = layers.Normalization()
    normalization.adapt(np.arange(12.0).reshape(4, 3))
    return keras.Sequential([keras.Input((3,)), normalization, layers.Dense(2)])


def with_lambda():
    return keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Lambda(lambda x: 2 * x)])


def unregistered():
    return randomize(keras.Sequential([keras.Input((3,)), Strange(), layers.Dense(2)]))


class Block(layers.Layer):
    """Holds a layer that it gives no name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs) + inputs


def unnamed():
    return randomize(keras.Sequential([keras.Input((3,)), Block(name="block"), layers.Dense(2)]))


def compiled():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.compile("adam", loss=lambda y, z: (y - z) ** 2)
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    return model


@pytest.mark.parametrize("make", [adapted, with_lambda, unregistered, unnamed, compiled])
def test_a_copy_computes_the_same_and_shares_nothing(make):
    model = make()
    before = fingerprint(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    copy = copy_model(model)
    np.testing.assert_array_equal(copy(x), model(x))
    assert list(leaf_layers(copy)) == list(leaf_layers(model))
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    for variable in copy.variables:
        variable.assign(variable + 1)
    assert fingerprint(model) == before
    assert not copy.compiled


def test_a_vocabulary_is_copied():
    text = layers.TextVectorization(output_mode="int", output_sequence_length=3)
    text.adapt(["one two three", "two three", "three"])
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, layers.Embedding(6, 2)(text(inputs)))
    words = np.array(["three one", "two unknown"])
    np.testing.assert_array_equal(copy_model(model)(words), model(words))


def test_a_class_that_cannot_be_made_again_is_an_error_in_words():
    class Needy(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = layers.Dense(width)

        def get_config(self):
            return {}

        def call(self, inputs):
            return self.dense(inputs)

    model = Needy(2)
    model(np.zeros((1, 3), "float32"))
    with pytest.raises(UnsupportedModelError, match="get_config.*MetaCompress"):
        copy_model(model)
