"""The fused BatchNormalization computes what Keras computes, and knows where it does not fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_metacompress as tmc
from tf_metacompress.layer_tree import is_redirected
from tf_metacompress.wrappers import fuse_batch_norms, restore_batch_norms

CHANNELS = 5


def _norm(shape, **arguments):
    model = keras.Sequential([keras.Input(shape), keras.layers.BatchNormalization(**arguments)])
    generator = np.random.default_rng(1)
    layer = model.layers[0]
    layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    return model


def _step(model, x, upstream):
    """Result, gradients and moving statistics of one call in training."""
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        value = tf.reduce_sum(tf.cast(y, tf.float32) * upstream)
    gradients = tape.gradient(value, [x, *(v.value for v in variables)])
    return [y, *gradients, *(v.numpy() for v in model.non_trainable_variables)]


def _both(model, x):
    """The step of Keras and that of the fused kernel, from the same weights."""
    before = model.get_weights()
    upstream = tf.random.stateless_normal(x.shape, [2, 3])
    expected = _step(model, x, upstream)
    model.set_weights(before)
    fused = fuse_batch_norms(model)
    return fused, expected, _step(model, x, upstream)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 6),
    height=st.integers(1, 4),
    scale=st.booleans(),
    center=st.booleans(),
    momentum=st.floats(0.1, 0.99),
)
def test_it_computes_what_keras_computes(batch, height, scale, center, momentum):
    model = _norm((height, 3, CHANNELS), scale=scale, center=center, momentum=momentum)
    x = tf.random.stateless_normal((batch, height, 3, CHANNELS), [batch, height], 2.0, 3.0)
    fused, expected, found = _both(model, x)
    assert fused
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4)


def test_the_kernel_is_used():
    model = _norm((4, 4, CHANNELS))
    fuse_batch_norms(model)
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(
        tf.TensorSpec((None, 4, 4, CHANNELS))
    )
    assert "FusedBatchNormV3" in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [((CHANNELS,), {}), ((6, CHANNELS), {}), ((CHANNELS, 4, 4), {"axis": 1})],
    ids=["dense", "sequence", "channels first"],
)
def test_what_does_not_fit_computes_as_before(shape, arguments):
    x = tf.random.stateless_normal((3, *shape), [0, 1])
    fused, expected, found = _both(_norm(shape, **arguments), x)
    assert fused
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_half_precision_keeps_its_dtype(dtype):
    x = tf.cast(tf.random.stateless_normal((4, 4, 4, CHANNELS), [0, 1]), dtype.split("_")[-1])
    _, expected, found = _both(_norm((4, 4, CHANNELS), dtype=dtype), x)
    assert found[0].dtype == expected[0].dtype
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.float32(b), np.float32(a), rtol=2e-2, atol=2e-2)


def test_frozen_layers_and_subclasses_are_left_to_keras():
    class Own(keras.layers.BatchNormalization):
        """A subclass that may compute anything."""

    model = keras.Sequential([keras.Input((4, 4, 2)), Own()])
    assert not fuse_batch_norms(model)
    model = _norm((4, 4, CHANNELS))
    model.layers[0].trainable = False
    before = model.layers[0].moving_mean.numpy()
    fuse_batch_norms(model)
    model(np.ones((2, 4, 4, CHANNELS), np.float32), training=True)
    np.testing.assert_array_equal(model.layers[0].moving_mean.numpy(), before)


def test_restored_layers_have_their_own_calls():
    model = _norm((4, 4, CHANNELS))
    restore_batch_norms(fuse_batch_norms(model))
    assert not is_redirected(model.layers[0])


def test_the_callback_leaves_the_layers_their_own_calls():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    )
    model.add(layers.Dense(2))
    model.compile("sgd", "mse")
    x, y = np.random.default_rng(0).random((8, 6, 6, 1)), np.zeros((8, 2))
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(is_redirected(model.layers[1]))

    policy = tmc.Policy([tmc.Rule("dense*", sparsity=0.5)])
    model.fit(
        x, y, verbose=0, callbacks=[Watch(), tmc.callbacks.MetaCompress(policy=policy), Watch()]
    )
    assert seen[-1]
    assert not is_redirected(model.layers[1])
