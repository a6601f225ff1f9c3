"""Who reads what: the trace, the BatchNormalization that folds, the tensors that become int8."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import (
    conv_net,
    nested_net,
    residual_net,
    shared_net,
    subclassed_net,
)
from tf_metacompress.anatomy import (
    bounds_by_path,
    followers,
    gain_array,
    quantization_points,
    trace,
)
from tf_metacompress.anatomy.trace import example_inputs
from tf_metacompress.errors import InvalidArgumentError, UnsupportedModelError

layers = keras.layers


def model_of(*parts, shape=(8, 8, 3)):
    return keras.Sequential([keras.Input(shape), *parts])


def paths(calls):
    return [call.path for call in calls]


def test_calls_come_in_execution_order_with_their_producers():
    calls = trace(residual_net())
    assert paths(calls) == [
        "stem", "bn_stem", "relu_stem", "branch", "bn_branch", "join", "relu_join", "fused",
        "max_pool", "flatten", "hidden", "tanh", "head",
    ]  # fmt: skip
    by_path = {call.path: call for call in calls}
    producers = [[paths(calls)[i] for i in call.producers if i >= 0] for call in calls]
    assert producers[0] == [] and by_path["stem"].producers == (-1,)
    assert producers[5] == ["relu_stem", "bn_branch"]
    assert by_path["stem"].input_shapes == ((1, 6, 6, 2),)
    assert by_path["max_pool"].output_shape == (1, 3, 3, 4)
    assert [call.path for call in calls if call.is_output] == ["head"]


def test_a_layer_that_passes_its_input_on_is_left_out():
    calls = trace(conv_net())
    assert "dropout" not in paths(calls)
    assert [paths(calls)[i] for i in calls[-1].producers] == ["pool"]


def test_a_shared_layer_is_called_twice():
    assert paths(trace(shared_net())) == ["shared", "shared", "join", "head"]


def test_a_plain_op_has_no_call():
    calls = {call.path: call for call in trace(subclassed_net())}
    assert calls["conv1"].producers == (-1,)  # behind keras.ops.relu
    assert calls["pool"].producers == (list(calls).index("conv1"),)


def test_outputs_in_the_middle_are_known():
    inputs = keras.Input((4,))
    middle = layers.Dense(3, name="middle")(inputs)
    model = keras.Model(inputs, [middle, layers.Dense(2, name="end")(middle)])
    assert [(call.path, call.is_output) for call in trace(model)] == [
        ("middle", True), ("end", True),
    ]  # fmt: skip


def test_example_inputs_have_the_structure_the_model_takes():
    shapes = tf.nest.map_structure(lambda t: tuple(t.shape), example_inputs(shared_net()))
    assert shapes == {"left": (1, 5), "right": (1, 5)}
    assert example_inputs(subclassed_net()).shape == (1, 8, 8, 1)
    two = [keras.Input((None, 2)), keras.Input((3,), dtype="int32")]
    first, second = example_inputs(keras.Model(two, two))
    assert (first.shape, second.shape, second.dtype) == ((1, 16, 2), (1, 3), tf.int32)


class Sum(keras.Model):
    """Takes a list, as subclassed models do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2, name="dense")

    def call(self, inputs):
        return self.dense(inputs[0] + inputs[1])


def test_a_subclassed_model_that_takes_a_list():
    model = Sum()
    model([np.zeros((2, 3)), np.zeros((2, 3))])
    assert [tuple(tensor.shape) for tensor in example_inputs(model)] == [(1, 3), (1, 3)]
    assert paths(trace(model)) == ["dense"]


def test_a_model_that_does_not_tell_its_inputs_is_an_error():
    class Silent(Sum):
        def get_build_config(self):
            return None

    model = Silent()
    model([np.zeros((2, 3)), np.zeros((2, 3))])
    with pytest.raises(InvalidArgumentError, match="shape of its inputs.*Call it once"):
        trace(model)


def test_a_model_with_two_arguments_is_refused_in_words():
    class TwoArguments(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, left, right):
            return self.dense(left + right)

    model = TwoArguments()
    model(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises((UnsupportedModelError, InvalidArgumentError), match="Functional|shape"):
        trace(model)


# Which BatchNormalization folds


def folded(model):
    return {path: layer.name for path, layer in followers(trace(model)).items()}


def norm(**kwargs):
    return layers.BatchNormalization(name="norm", **kwargs)


FOLDS = {
    "convolution": [layers.Conv2D(4, 3, name="it"), norm()],
    "without gamma": [layers.Conv2D(4, 3, name="it"), norm(scale=False, center=False)],
    "dense": [layers.Flatten(), layers.Dense(4, name="it"), norm()],
    "dense on a sequence": [layers.Dense(4, name="it"), norm()],
    "depthwise": [layers.DepthwiseConv2D(3, name="it"), norm()],
    "transpose": [layers.Conv2DTranspose(4, 3, name="it"), norm()],
    "behind dropout": [layers.Conv2D(4, 3, name="it"), layers.Dropout(0.5), norm()],
    "axis by number": [layers.Conv2D(4, 3, name="it"), norm(axis=3)],
}
STAYS = {
    "activation inside": [layers.Conv2D(4, 3, activation="relu", name="it"), norm()],
    "activation between": [layers.Conv2D(4, 3, name="it"), layers.ReLU(), norm()],
    "pooling between": [layers.Conv2D(4, 3, name="it"), layers.MaxPooling2D(), norm()],
    "other axis": [layers.Conv2D(4, 3, name="it"), norm(axis=1)],
    "first": [norm(), layers.Conv2D(4, 3, name="it")],
    "other normalization": [layers.Conv2D(4, 3, name="it"), layers.LayerNormalization()],
}


def copies(parts):
    return [type(part).from_config(part.get_config()) for part in parts]


@pytest.mark.parametrize("case", FOLDS)
def test_batch_normalization_that_folds_is_found(case):
    assert folded(model_of(*copies(FOLDS[case]))) == {"it": "norm"}


@pytest.mark.parametrize("case", STAYS)
def test_batch_normalization_that_cannot_fold_is_not_taken(case):
    assert folded(model_of(*copies(STAYS[case]))) == {}


def test_a_result_that_is_read_twice_does_not_fold():
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="it")(inputs)
    assert folded(keras.Model(inputs, layers.Add()([norm()(x), x]))) == {}


def test_a_result_that_the_model_returns_does_not_fold():
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="it")(inputs)
    assert folded(keras.Model(inputs, [x, norm()(x)])) == {}


def test_a_shared_layer_does_not_fold():
    left, right = keras.Input((4,)), keras.Input((4,))
    shared = layers.Dense(3, name="it")
    outputs = [norm()(shared(left)), layers.BatchNormalization()(shared(right))]
    assert folded(keras.Model([left, right], outputs)) == {}


def test_folding_reaches_across_nested_models():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="it")], name="inner")
    assert folded(keras.Sequential([keras.Input((4,)), inner, norm()])) == {"inner/it": "norm"}
    assert folded(nested_net()) == {"backbone/conv": "bn"}
    assert folded(conv_net()) == {"conv": "bn1", "depthwise": "bn2", "separable": "bn3"}
    assert folded(subclassed_net()) == {"conv0": "norm"}


def test_gain_without_gamma():
    layer = norm(scale=False)
    layer.build((None, 2))
    layer.moving_variance.assign([3.0, 0.0])
    gain = gain_array(layer, (5, 2), (1,))
    np.testing.assert_allclose(gain, [[1 / np.sqrt(3.001), 1 / np.sqrt(0.001)]], rtol=1e-6)


# Which tensors become int8


def points(model):
    return set(quantization_points(trace(model)))


def test_points_of_a_residual_net_by_hand():
    # stem+bn+relu, branch+bn, join+relu, fused, hidden; tanh has its own grid; max_pool moves
    # values, the grid of softmax is fixed.
    assert points(residual_net()) == {
        "relu_stem", "bn_branch", "relu_join", "fused", "hidden",
    }  # fmt: skip


def test_points_of_the_other_nets_by_hand():
    assert points(conv_net()) == {"relu1", "relu2", "relu3", "pool"}
    assert points(nested_net()) == {"backbone/bn", "backbone/inner/relu", "pool", "head"}
    assert points(shared_net()) == {"join", "head"}  # joined results share one range


@pytest.mark.parametrize(
    ("activation", "fuses"),
    [
        (layers.ReLU(), True),
        (layers.ReLU(6.0), True),
        (layers.Activation("relu"), True),
        (layers.Activation("relu6"), True),
        (layers.ReLU(negative_slope=0.1), False),
        (layers.ReLU(max_value=3.0), False),
        (layers.ReLU(threshold=1.0), False),
        (layers.LeakyReLU(), False),
        (layers.Activation("gelu"), False),
        (layers.Activation("silu"), False),
    ],
)
def test_only_relu_and_relu6_are_fused(activation, fuses):
    activation.name = "activation"
    found = points(model_of(layers.Conv2D(4, 3, name="it"), activation))
    assert found == ({"activation"} if fuses else {"it", "activation"})


def test_a_convolution_with_two_readers_keeps_its_own_point():
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="it")(inputs)
    model = keras.Model(inputs, layers.Add(name="sum")([layers.ReLU(name="relu")(x), x]))
    assert points(model) == {"it", "relu", "sum"}


def test_a_returned_convolution_keeps_its_own_point():
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="it")(inputs)
    assert points(keras.Model(inputs, [x, layers.ReLU(name="relu")(x)])) == {"it", "relu"}


def test_a_convolution_that_has_its_activation_already_is_a_point():
    parts = [layers.Conv2D(4, 3, activation="gelu", name="it"), layers.ReLU(name="relu")]
    assert points(model_of(*parts)) == {"it", "relu"}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softmax"])
def test_a_grid_that_the_runtime_sets_is_not_learned(activation):
    parts = [layers.Conv2D(4, 3, name="it"), layers.Activation(activation, name="act")]
    assert points(model_of(*parts)) == {"it"}
    assert points(model_of(layers.Conv2D(4, 3, activation=activation, name="it"))) == set()


def test_a_result_that_is_joined_and_read_elsewhere_too_is_a_point():
    inputs = keras.Input((6, 6, 1))
    a = layers.Conv2D(4, 1, name="a")(inputs)
    b = layers.Conv2D(4, 1, name="b")(inputs)
    joined = layers.Concatenate(name="join")([a, b])
    outputs = layers.Conv2D(4, 1, name="last")(joined)
    assert points(keras.Model(inputs, layers.Add(name="sum")([outputs, a]))) == {
        "a", "join", "last", "sum",
    }  # fmt: skip


# Operators between the layers


def plain_join(fold_too=False):
    """A convolution whose result goes to its norm and, beside it, to a plain operator."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="it")(inputs)
    y = norm()(x)
    if fold_too:
        return keras.Model(inputs, y + 1.0)
    return keras.Model(inputs, y + x)


def test_a_read_by_an_operator_is_seen():
    flags = {call.path: call.read_by_op for call in trace(plain_join())}
    assert flags == {"it": True, "norm": True}
    assert folded(plain_join()) == {}
    assert points(plain_join()) == {"it", "norm"}


def test_an_operator_behind_the_norm_does_not_keep_it_from_folding():
    assert {call.path: call.read_by_op for call in trace(plain_join(fold_too=True))} == {
        "it": False, "norm": True,
    }  # fmt: skip
    assert folded(plain_join(fold_too=True)) == {"it": "norm"}


def test_an_operator_that_no_output_depends_on_is_no_reader():
    regularized = layers.Conv2D(4, 3, name="it", activity_regularizer="l2")
    model = model_of(regularized, norm())
    assert not any(call.read_by_op for call in trace(model))
    assert folded(model) == {"it": "norm"}


def test_casts_between_layers_are_seen_through():
    parts = [
        layers.Conv2D(4, 3, dtype="mixed_float16", name="it"),
        layers.BatchNormalization(dtype="float32", name="norm"),
        layers.ReLU(dtype="mixed_float16", name="relu"),
    ]
    calls = trace(model_of(*parts))
    assert [call.producers for call in calls] == [(-1,), (0,), (1,)]
    assert not any(call.read_by_op for call in calls)


def test_an_operator_inside_a_layer_is_not_between_layers():
    parts = [layers.Conv2D(4, 3, activation="gelu", name="it"), layers.LayerNormalization()]
    assert not any(call.read_by_op for call in trace(model_of(*parts)))


class Tied(layers.Layer):
    """Uses the kernel of another layer."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, inputs):
        return tf.matmul(inputs, tf.transpose(tf.convert_to_tensor(self.other.kernel)))


def test_weights_that_something_else_reads_are_known():
    dense = layers.Dense(4, name="dense")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Tied(dense, name="tied")(dense(inputs)))
    assert {call.path: call.weights_read_elsewhere for call in trace(model)} == {"dense": True}


class Borrowing(layers.Layer):
    """Has the weight of another layer for its own."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.factor = other.factor

    def call(self, inputs):
        return inputs * self.factor


class Scaling(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=shape[-1:])

    def call(self, inputs):
        return inputs * self.factor


def test_weights_that_two_layers_share_are_known():
    inputs = keras.Input((4,))
    first = Scaling(name="first")
    x = layers.Dense(4, name="dense")(first(inputs))
    model = keras.Model(inputs, Borrowing(first, name="second")(x))
    assert {call.path: call.weights_read_elsewhere for call in trace(model)} == {
        "first": True, "dense": False, "second": True,
    }  # fmt: skip


def test_a_shared_layer_may_read_its_weights_twice():
    assert not any(call.weights_read_elsewhere for call in trace(shared_net()))


def test_nothing_is_computed_and_no_state_moves():
    class Counter(layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.count.assign(self.count + 1.0)
            return inputs + self.count

    model = model_of(Counter(name="counter"), layers.Flatten(), layers.Dense(2))
    trace(model)
    assert float(model.get_layer("counter").count.numpy()) == 0.0


def relu_between(operator, *parts):
    """Layers, a plain operator behind the last, and a convolution that reads what it gives."""
    inputs = x = keras.Input((8, 8, 3))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, layers.Conv2D(2, 1, name="end")(operator(x)))


CONVOLUTION = {"name": "it", "filters": 4, "kernel_size": 3}
CLIPPED = {
    "relu": (keras.ops.relu, [layers.Conv2D(**CONVOLUTION)], {"it": (0.0, None)}),
    "relu6": (keras.ops.relu6, [layers.Conv2D(**CONVOLUTION)], {"it": (0.0, 6.0)}),
    "tf.nn": (tf.nn.relu, [layers.Conv2D(**CONVOLUTION)], {"it": (0.0, None)}),
    "behind a norm": (
        keras.ops.relu, [layers.Conv2D(**CONVOLUTION), layers.BatchNormalization(name="norm")],
        {"it": (None, None), "norm": (0.0, None)},
    ),
    "behind an activation": (
        keras.ops.relu, [layers.Conv2D(activation="tanh", **CONVOLUTION)], {"it": (None, None)},
    ),
    "other operator": (
        keras.ops.leaky_relu, [layers.Conv2D(**CONVOLUTION)], {"it": (None, None)},
    ),
    "two readers": (
        lambda x: keras.ops.relu(x) + x, [layers.Conv2D(**CONVOLUTION)], {"it": (None, None)},
    ),
    "built in": (
        keras.ops.abs, [layers.Conv2D(activation="relu6", **CONVOLUTION)], {"it": (0.0, 6.0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLIPPED)
def test_a_relu_between_the_layers_bounds_what_the_layer_before_gives(case):
    operator, parts, expected = CLIPPED[case]
    if case == "tf.nn":
        operator = layers.Lambda(operator)
        expected = {"it": (None, None)}  # a layer of its own, whose function is not known
    calls = trace(relu_between(operator, *copies(parts)))
    found = bounds_by_path(calls)
    assert {path: found[path] for path in expected} == expected


def test_a_shared_layer_is_bounded_only_where_all_its_calls_are():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, name="it")
    both = keras.Model(inputs, dense(keras.ops.relu(dense(inputs))))
    assert bounds_by_path(trace(both))["it"] == (None, None)
