"""Paths of layers, and the redirection of their calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import conv_net, nested_net, shared_net, subclassed_net
from tf_metacompress.layer_tree import (
    call_with_weights,
    composite_layers,
    inner_layers,
    is_redirected,
    leaf_layers,
    own_weights,
    redirect,
    redirected,
    restore,
    weight_of,
)

layers = keras.layers


def test_paths_of_the_innermost_layers():
    assert list(leaf_layers(nested_net())) == [
        "backbone/conv", "backbone/bn", "backbone/inner/conv", "backbone/inner/relu",
        "pool", "head",
    ]  # fmt: skip
    assert list(leaf_layers(shared_net())) == ["shared", "join", "head"]
    assert set(leaf_layers(subclassed_net())) == {
        "conv0", "conv1", "norm", "pool", "head/dense", "head/logits",
    }  # fmt: skip


def test_a_wrapped_layer_is_a_leaf():
    wrapped = layers.TimeDistributed(layers.Dense(2, name="dense"), name="each")
    model = keras.Sequential([keras.Input((3, 4)), wrapped])
    assert leaf_layers(model) == {"each/dense": wrapped.layer}


def test_a_layer_in_two_models_appears_once():
    shared = layers.Dense(3, name="shared")
    first = keras.Sequential([keras.Input((3,)), shared], name="first")
    second = keras.Sequential([keras.Input((3,)), shared], name="second")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Add(name="sum")([first(inputs), second(inputs)]))
    assert list(leaf_layers(model)) == ["first/shared", "sum"]


def test_layers_of_one_name_are_numbered():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [layers.Dense(1, name=name) for name in ("a", "a_1", "a", "a", "b")]

    model = Twins()
    found = leaf_layers(model)
    assert list(found) == ["a", "a_1", "a_2", "a_3", "b"]
    assert [id(layer) for layer in found.values()] == [id(layer) for layer in model.parts]


class Block(layers.Layer):
    """A layer made of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(2, name="dense")
        self.others = {"list": [layers.ReLU(name="relu"), layers.Dense(2, name="dense")]}
        self.again = self.first
        self._hidden = layers.Dense(2, name="hidden")

    def build(self, shape):
        self.first.build(shape)

    def call(self, x):
        return x


def test_layers_inside_layers_are_found_too():
    block = Block(name="block")
    wrapped = layers.TimeDistributed(layers.Dense(2, name="inside"), name="each")
    nested = keras.Sequential([keras.Input((3, 4)), block, wrapped], name="nested")
    model = keras.Sequential([keras.Input((3, 4)), nested, layers.Dense(1, name="head")])
    leaves = {
        "nested/block/dense", "nested/block/relu", "nested/block/dense_1", "nested/block/hidden",
        "nested/each/inside", "head",
    }  # fmt: skip
    assert set(leaf_layers(model)) == leaves
    assert set(inner_layers(model)) == {"nested", "nested/block", "nested/each", *leaves}
    assert composite_layers(model) == {}


def test_weights_beside_inner_layers_are_found():
    class Gate(Block):
        def build(self, shape):
            super().build(shape)
            self.gate = self.add_weight(name="gate", shape=(3,))

    gate = Gate(name="block")
    model = keras.Sequential([keras.Input((3, 4)), gate])
    assert composite_layers(model) == {"block": gate}
    assert own_weights(gate) == [gate.gate]
    assert own_weights(gate.first) == [gate.first.kernel, gate.first.bias]


def test_a_recurrent_layer_is_a_leaf_and_its_cell_an_inner_layer():
    lstm = layers.LSTM(2, name="lstm")
    model = keras.Sequential([keras.Input((3, 4)), layers.Bidirectional(lstm, name="both")])
    assert list(leaf_layers(model)) == ["both/forward_lstm", "both/backward_lstm"]
    assert "both/forward_lstm/lstm_cell" in {
        path.replace(lstm.cell.name, "lstm_cell") for path in inner_layers(model)
    }
    forward = leaf_layers(model)["both/forward_lstm"]
    assert weight_of(forward, "cell.recurrent_kernel") is forward.cell.recurrent_kernel


def test_attention_is_made_of_its_projections():
    inputs = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 2, name="attention")
    leaves = leaf_layers(keras.Model(inputs, attention(inputs, inputs)))
    assert {path for path, layer in leaves.items() if layer.weights} == {
        f"attention/{name}" for name in ("query", "key", "value", "attention_output")
    }


def plus_one(call):
    return lambda *args, **kwargs: call(*args, **kwargs) + 1.0


def test_a_redirected_call_is_used_wherever_the_layer_is():
    model = nested_net()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    before = model(x).numpy()
    head = model.get_layer("head")
    redirect(head, plus_one)
    assert is_redirected(head)
    np.testing.assert_allclose(model(x), before + 1.0, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), before + 1.0, atol=1e-5)
    restore(head)
    assert not is_redirected(head)
    np.testing.assert_allclose(model(x), before, atol=1e-6)
    restore(head)


def test_a_redirection_for_a_while_ends_even_after_an_error():
    model = conv_net()
    leaves = leaf_layers(model)
    redirect(leaves["head"], plus_one)
    own = leaves["head"].call
    with pytest.raises(KeyError), redirected(leaves, lambda path, layer, call: plus_one(call)):
        assert all(is_redirected(layer) for layer in leaves.values())
        raise KeyError
    assert [path for path, layer in leaves.items() if is_redirected(layer)] == ["head"]
    assert leaves["head"].call is own


def built_dense(**kwargs):
    layer = layers.Dense(2, **kwargs)
    layer.build((None, 3))
    return layer


def test_weights_are_substituted_with_their_gradient():
    layer = built_dense()
    kernel = tf.constant(np.arange(6.0).reshape(3, 2), tf.float32)
    x = tf.constant([[1.0, 2.0, 3.0]])
    own = layer.kernel.numpy().copy()
    layer.bias.assign([10.0, 20.0])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = call_with_weights(layer, layer.call, {"kernel": kernel}, x)
    np.testing.assert_allclose(y, x.numpy() @ kernel.numpy() + [[10.0, 20.0]])
    to_kernel, to_bias = tape.gradient(y, [kernel, layer.bias.value])
    np.testing.assert_allclose(to_kernel, [[1, 1], [2, 2], [3, 3]])
    np.testing.assert_allclose(to_bias, [1, 1])
    np.testing.assert_array_equal(layer.kernel, own)


def test_what_the_layer_updates_itself_is_kept():
    norm = layers.BatchNormalization(momentum=0.5)
    norm.build((None, 3))
    x = tf.constant(np.random.default_rng(0).normal(3.0, 1.0, (8, 3)), tf.float32)
    gamma = tf.constant([1.0, 2.0, 3.0])
    call_with_weights(norm, norm.call, {"gamma": gamma}, x, training=True)
    np.testing.assert_allclose(norm.moving_mean, np.mean(x, 0) / 2, rtol=1e-5)
    np.testing.assert_array_equal(norm.gamma, np.ones(3))


def test_random_layers_draw_anew_at_each_call():
    dropout = layers.Dropout(0.5)
    x = tf.ones((1, 64))
    first, second = (call_with_weights(dropout, dropout.call, {}, x, training=True) for _ in "ab")
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float64", "bfloat16"])
def test_no_variable_changes_under_any_dtype_policy(policy):
    layer = built_dense(dtype=policy)
    kernel = tf.constant(np.random.default_rng(1).normal(size=(3, 2)), tf.float32)
    before = [np.asarray(v).copy() for v in layer.variables]
    redirect(layer, lambda call: lambda *a: call_with_weights(layer, call, {"kernel": kernel}, *a))
    y = layer(np.ones((1, 3)))
    assert y.dtype == layer.compute_dtype
    np.testing.assert_allclose(np.asarray(y, float), np.sum(kernel, 0)[None], atol=0.03)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_stateless_call_sees_the_substitute_and_the_given_state():
    model = keras.Sequential([keras.Input((3,)), built_dense(name="it")])
    layer = model.get_layer("it")
    redirect(
        layer,
        lambda call: lambda x: call_with_weights(layer, call, {"kernel": layer.kernel * 2}, x),
    )
    kernel, bias = np.full((3, 2), 5.0, "float32"), np.array([1.0, 2.0], "float32")
    y, _ = model.stateless_call([kernel, bias], [], np.ones((1, 3), "float32"))
    np.testing.assert_allclose(y, [[31.0, 32.0]])
