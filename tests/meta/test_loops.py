"""The inner and the outer loop as pure functions, on losses that NumPy can differentiate."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import dense_net, randomize
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    MissingGradientError,
    SecondOrderGradientError,
)
from tf_metacompress.meta import InnerLoop, MetaState, meta_gradient
from tf_metacompress.meta.inner_loop import adapt
from tf_metacompress.meta.outer_loop import meta_step
from tf_metacompress.meta.outer_optimizer import OuterOptimizer
from tf_metacompress.meta.second_order import check_second_order, require_gradients

layers = keras.layers


def tensors(*values):
    return tuple(tf.constant(value, tf.float64) for value in values)


def quadratic(groups, x, y):
    """½ Σ x (parameter − y)², so that one gradient step is known in closed form."""
    return sum(0.5 * tf.reduce_sum(x * tf.square(p - y)) for group in groups for p in group)


def loop_of(steps=1, rates=(0.1, 0.3), clip_norm=1e9, first_order=False):
    return InnerLoop(
        inner_steps=steps, inner_lr=rates, clip_norm=clip_norm, first_order=first_order
    )


X, Y = tf.constant([1.0, 2.0], tf.float64), tf.constant([0.5, -1.0], tf.float64)


def test_inner_steps_descend_with_a_rate_for_each_group():
    phi, theta = tensors([1.0, 1.0]), tensors([2.0, 0.0], [4.0, 4.0])
    adapted, losses = adapt(loop_of(3), quadratic, (phi, theta), X, Y)
    for group, new, rate in zip((phi, theta), adapted, (0.1, 0.3), strict=True):
        for old, value in zip(group, new, strict=True):
            expected = Y + (old - Y) * (1 - rate * X) ** 3
            np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2]
    np.testing.assert_array_equal(phi[0], [1.0, 1.0])


def test_the_gradient_of_a_group_is_shortened():
    phi, theta = tensors([100.0, 0.0]), tensors([0.5, -0.9], [0.4, -1.0])
    (new_phi, new_theta), _ = adapt(loop_of(clip_norm=1.0), quadratic, (phi, theta), X, Y)
    assert np.linalg.norm(new_phi[0] - phi[0]) == pytest.approx(0.1)
    for old, new in zip(theta, new_theta, strict=True):  # short enough already
        np.testing.assert_allclose(new, old - 0.3 * X * (old - Y), rtol=1e-12)


def test_a_gradient_of_zero_takes_no_step():
    at_rest = tensors(Y)
    (phi, theta), _ = adapt(loop_of(), quadratic, (at_rest, at_rest), X, Y)
    np.testing.assert_array_equal(phi[0], Y)
    np.testing.assert_array_equal(theta[0], Y)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_meta_gradient_in_closed_form(first_order):
    loop = loop_of(2, first_order=first_order)
    phi, theta = tensors([1.0, 1.0]), tensors([2.0, 0.0])
    query_y = tf.constant([3.0, 3.0], tf.float64)
    gradients, support, query = meta_gradient(loop, quadratic, phi, theta, (X, Y, X, query_y))
    shrink = 1.0 if first_order else (1 - 0.1 * X.numpy()) ** 2
    adapted = Y + (phi[0] - Y) * (1 - 0.1 * X) ** 2
    np.testing.assert_allclose(gradients[0], X * (adapted - query_y) * shrink, rtol=1e-12)
    assert float(support) == pytest.approx(float(quadratic((phi, theta), X, Y)))
    after, _ = adapt(loop, quadratic, (phi, theta), X, Y)
    assert float(query) == pytest.approx(float(quadratic(after, X, query_y)))


def test_a_parameter_without_influence_is_an_error():
    def of_theta(groups, x, y):
        return tf.reduce_sum(tf.square(groups[1][0] - y))

    phi, theta = tensors([1.0]), tensors([1.0, 2.0])
    with pytest.raises(MissingGradientError, match="parameter 0"):
        adapt(loop_of(), of_theta, (phi, theta), X, Y)


def test_a_missing_gradient_of_the_outer_loss_is_an_error():
    calls = []

    def forgets_after_the_support_set(groups, x, y):
        calls.append(x)
        if len(calls) == 1:
            return quadratic(groups, x, y)
        return quadratic((tuple(map(tf.stop_gradient, groups[1])),), x, y)

    phi, theta = tensors([1.0, 1.0]), tensors([2.0, 0.0])
    with pytest.raises(MissingGradientError, match="weight 0 of Φ"):
        meta_gradient(loop_of(), forgets_after_the_support_set, phi, theta, (X, Y, X, Y))
    with pytest.raises(MissingGradientError, match="no gradient for .*second"):
        require_gradients([tf.constant(1.0), None], ["first", "second"])


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("inner_steps", {"inner_steps": 0}),
        ("inner_steps", {"inner_steps": 1.5}),
        ("inner_lr", {"inner_lr": (0.1, 0.0)}),
        ("inner_lr", {"inner_lr": (float("nan"), 0.1)}),
        ("clip_norm", {"clip_norm": -1.0}),
    ],
)
def test_a_bad_inner_loop_is_an_error(match, arguments):
    with pytest.raises(InvalidArgumentError, match=match):
        InnerLoop(**arguments)


# The outer loop


def outer(optimizer, phi):
    optimizer = OuterOptimizer(optimizer, phi)
    return optimizer, MetaState(tuple(phi), optimizer.init())


def constant_gradient(*values, support=2.0, query=1.0):
    gradients = [tf.constant(value) for value in values]
    return lambda phi: (gradients, tf.constant(support), tf.constant(query))


def test_a_meta_step_averages_the_tasks():
    phi = [tf.constant([1.0, 1.0])]
    optimizer, state = outer(keras.optimizers.SGD(0.5), phi)
    fns = [constant_gradient([0.2, 0.0], query=1.0), constant_gradient([0.0, 0.6], query=3.0)]
    after, metrics = meta_step(state, optimizer, fns, clip_norm=10.0)
    np.testing.assert_allclose(after.phi[0], [0.95, 0.85])
    assert after.meta_step == 1 and state.meta_step == 0
    assert metrics == pytest.approx({"support_loss": 2.0, "query_loss": 2.0, "gradient_norm": 0.4})
    np.testing.assert_array_equal(state.phi[0], [1.0, 1.0])


def test_the_gradient_of_one_task_cannot_outweigh_the_others():
    optimizer, state = outer(keras.optimizers.SGD(1.0), [tf.constant([0.0, 0.0])])
    fns = [constant_gradient([300.0, 400.0]), constant_gradient([0.5, 0.0])]
    after, metrics = meta_step(state, optimizer, fns, clip_norm=1.0)
    np.testing.assert_allclose(after.phi[0], [-(0.6 + 0.5) / 2, -0.4])
    assert metrics["gradient_norm"] == pytest.approx(250.25)


def test_a_meta_step_is_a_pure_function_of_its_state():
    phi = [tf.constant([1.0, -1.0]), tf.constant([[2.0]])]
    optimizer, start = outer(keras.optimizers.Adam(0.1), phi)
    fns = [lambda phi: ([2 * p for p in phi], tf.constant(0.0), tf.constant(0.0))]

    def run(state, steps):
        for _ in range(steps):
            state, _ = meta_step(state, optimizer, fns, clip_norm=1e9)
        return state

    once = run(start, 3)
    run(once, 5)
    again = run(start, 3)
    for one, other in zip(
        (*once.phi, *once.optimizer), (*again.phi, *again.optimizer), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not np.allclose(run(once, 1).phi[0], once.phi[0])


def test_the_outer_optimizer_is_keras_adam():
    start = np.array([1.0, -2.0], "float32")
    variable = keras.Variable(start)
    reference = keras.optimizers.Adam(0.1)
    optimizer, state = outer(keras.optimizers.Adam(0.1), [tf.constant(start)])
    for _ in range(4):
        reference.apply([3.0 * tf.convert_to_tensor(variable)], [variable])
        fns = [lambda phi: ([3.0 * phi[0]], tf.constant(0.0), tf.constant(0.0))]
        state, _ = meta_step(state, optimizer, fns, clip_norm=1e9)
    np.testing.assert_allclose(state.phi[0], variable, rtol=1e-6)
    with pytest.raises(ArgumentTypeError, match="optimizer"):
        OuterOptimizer("adam", [tf.constant(start)])


# Layers whose second-order gradients are wrong


def with_layer(layer):
    return keras.Sequential([keras.Input((4, 6)), layers.Dense(6), layer, layers.Dense(2)])


@pytest.mark.parametrize(
    "layer", [layers.LayerNormalization(name="it"), layers.GroupNormalization(2, name="it")]
)
def test_layers_that_are_always_wrong_are_named(layer):
    for training in (False, True):
        with pytest.raises(SecondOrderGradientError, match="it.*first_order=True") as raised:
            check_second_order(with_layer(layer), training)
        assert raised.value.layers == ("it",)


def test_batch_normalization_is_wrong_in_training_only():
    model = with_layer(layers.BatchNormalization(name="norm"))
    check_second_order(model)
    with pytest.raises(SecondOrderGradientError) as raised:
        check_second_order(model, training=True)
    assert raised.value.layers == ("norm",)
    check_second_order(randomize(dense_net()), training=True)


def test_a_wrong_layer_in_a_nested_model_is_named_by_its_path():
    inner = keras.Sequential(
        [keras.Input((4, 6)), layers.LayerNormalization(name="norm")], name="inner"
    )
    with pytest.raises(SecondOrderGradientError) as raised:
        check_second_order(keras.Sequential([keras.Input((4, 6)), inner]))
    assert raised.value.layers == ("inner/norm",)


class Block(layers.Layer):
    """A layer made of layers, as transformer blocks are."""

    def __init__(self, norm, **kwargs):
        super().__init__(**kwargs)
        self.parts = {"dense": layers.Dense(6), "norms": [norm]}

    def call(self, x):
        return self.parts["norms"][0](self.parts["dense"](x))


def test_a_wrong_layer_inside_a_layer_is_named():
    block = Block(layers.LayerNormalization(name="norm"), name="block")
    with pytest.raises(SecondOrderGradientError) as raised:
        check_second_order(with_layer(block))
    assert raised.value.layers == ("block/norm",)
    check_second_order(with_layer(Block(layers.ReLU(name="relu"), name="block")))


def test_a_subclass_of_a_wrong_layer_is_wrong_too():
    class Mine(layers.LayerNormalization):
        pass

    with pytest.raises(SecondOrderGradientError):
        check_second_order(with_layer(Mine(name="it")))
