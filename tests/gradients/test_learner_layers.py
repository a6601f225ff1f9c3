"""Meta-gradients through every kind of layer and of model, in float64 by central differences.

Activations are smooth and pooled values apart, so that differences are derivatives.
"""

import keras
import numpy as np
import pytest

from tests.gradients.meta_objectives import (
    Objective,
    central_difference,
    check_gradients,
    distance,
    learner_on,
    make_episode,
)
from tf_metacompress.errors import SecondOrderGradientError
from tf_metacompress.meta import MAML, FirstOrderMAML
from tf_metacompress.meta.learners.algorithm import Phase

pytestmark = pytest.mark.usefixtures("float64")
layers = keras.layers
TOKENS = 7


def image_net(*parts, shape=(6, 6, 2)):
    return keras.Sequential([keras.Input(shape), *parts, layers.Flatten(), layers.Dense(3)])


def series_net(*parts):
    return image_net(*parts, shape=(7, 3))


def attention_net():
    inputs = keras.Input((4, 3))
    x = layers.MultiHeadAttention(2, 2, name="attention")(inputs, inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def embedding_net():
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(TOKENS, 3, name="embedding")(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def nested_net():
    inner = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Conv2D(2, 2, activation="tanh")], name="inner"
    )
    inputs = keras.Input((6, 6, 2))
    x = inner(layers.Conv2D(2, 3, activation="softplus")(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def residual_net():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(2, 3, padding="same", activation="tanh")(inputs)
    x = layers.Concatenate()([layers.Add()([x, inputs]), layers.Multiply()([x, inputs])])
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@keras.saving.register_keras_serializable(package="tests")
class SmoothSubclass(keras.Model):
    """Calls a list of layers and a nested Sequential."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [layers.Conv2D(2, 3, activation="tanh", name=f"conv{i}") for i in range(2)]
        self.norm = layers.BatchNormalization(name="norm")
        self.head = keras.Sequential([layers.Flatten(), layers.Dense(3)], name="head")

    def call(self, inputs, training=False):
        x = self.norm(self.blocks[0](inputs), training=training)
        return self.head(self.blocks[1](x))

    def get_config(self):
        return super().get_config()


def subclassed_net():
    model = SmoothSubclass()
    model(np.zeros((1, 6, 6, 2)))
    return model


EXACT = {
    "Conv1D": lambda: series_net(layers.Conv1D(3, 3, activation="tanh")),
    "Conv2D": lambda: image_net(layers.Conv2D(2, 3, strides=2, activation="gelu")),
    "Conv3D": lambda: image_net(layers.Conv3D(2, 2, activation="tanh"), shape=(3, 3, 3, 1)),
    "DepthwiseConv1D": lambda: series_net(layers.DepthwiseConv1D(3, activation="tanh")),
    "DepthwiseConv2D": lambda: image_net(layers.DepthwiseConv2D(3, activation="tanh")),
    "SeparableConv1D": lambda: series_net(layers.SeparableConv1D(2, 3, activation="tanh")),
    "SeparableConv2D": lambda: image_net(layers.SeparableConv2D(2, 3, activation="silu")),
    "Conv1DTranspose": lambda: series_net(layers.Conv1DTranspose(2, 3, activation="tanh")),
    "Conv2DTranspose": lambda: image_net(
        layers.Conv2DTranspose(2, 3, activation="tanh"), shape=(3, 3, 2)
    ),
    "MaxPooling2D": lambda: image_net(
        layers.Conv2D(2, 3, activation="tanh"), layers.MaxPooling2D()
    ),
    "AveragePooling2D": lambda: image_net(
        layers.Conv2D(2, 3, activation="tanh"), layers.AveragePooling2D(2)
    ),
    "GlobalAveragePooling2D": lambda: image_net(
        layers.Conv2D(3, 3, activation="tanh"), layers.GlobalAveragePooling2D()
    ),
    "GlobalMaxPooling2D": lambda: image_net(
        layers.Conv2D(3, 3, activation="tanh"), layers.GlobalMaxPooling2D()
    ),
    "Conv3DTranspose": lambda: image_net(
        layers.Conv3DTranspose(1, 2, activation="tanh"), shape=(2, 2, 2, 1)
    ),
    "UpSampling2D": lambda: image_net(
        layers.Conv2D(2, 3, activation="tanh"), layers.UpSampling2D(), shape=(4, 4, 1)
    ),
    "ReLU6": lambda: image_net(layers.Conv2D(2, 3), layers.ReLU(6.0)),
    "LeakyReLU": lambda: image_net(layers.Conv2D(2, 3), layers.LeakyReLU()),
    "PReLU": lambda: image_net(layers.Conv2D(2, 3), layers.PReLU(), shape=(4, 4, 1)),
    "ELU": lambda: image_net(layers.Conv2D(2, 3, activation="elu")),
    "Softmax": lambda: image_net(layers.Conv2D(2, 3), layers.Softmax()),
    "EinsumDense": lambda: series_net(layers.EinsumDense("abc,cd->abd", (7, 2), activation="tanh")),
    "BatchNormalization": lambda: image_net(
        layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Activation("tanh")
    ),
    "UnitNormalization": lambda: image_net(layers.Conv2D(2, 3), layers.UnitNormalization()),
    "RMSNormalization": lambda: image_net(layers.Conv2D(2, 3), layers.RMSNormalization()),
    "MultiHeadAttention": attention_net,
    "Embedding": embedding_net,
    "SimpleRNN": lambda: series_net(layers.SimpleRNN(3)),
    "GRU": lambda: series_net(layers.GRU(2)),
    "LSTM": lambda: series_net(layers.LSTM(2)),
    "Bidirectional": lambda: series_net(layers.Bidirectional(layers.GRU(2))),
    "TimeDistributed": lambda: series_net(
        layers.TimeDistributed(layers.Dense(2, activation="tanh"))
    ),
    "nested": nested_net,
    "residual": residual_net,
    "subclassed": subclassed_net,
}


def objective_on(make, kind=MAML, inner_steps=1, **arguments):
    model = make()
    tokens = TOKENS if make is embedding_net else 0
    shape = (6, 6, 2) if make is subclassed_net else model.input_shape[1:]
    learner = learner_on(kind, model, inner_lr=0.2, inner_steps=inner_steps, **arguments)
    return Objective(learner, make_episode(shape, integers=tokens))


FAST = ("Conv2D", "DepthwiseConv2D", "MaxPooling2D", "Embedding", "nested", "subclassed")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind not in FAST)) for kind in EXACT]
)
def test_the_meta_gradient_through_a_layer_is_exact(kind):
    objective = objective_on(EXACT[kind])
    check_gradients(objective, number=1)
    assert distance(objective.gradients(Phase(first_order=True)), objective.gradients()) > 1e-3


def resized_net(*, first=False):
    parts = [layers.Conv2D(2, 3, activation="tanh"), layers.Resizing(5, 5)]
    return image_net(*(reversed(parts) if first else parts), shape=(6, 6, 2))


def test_resized_inputs_are_no_obstacle():
    check_gradients(objective_on(lambda: resized_net(first=True)), number=1)


@pytest.mark.parametrize("inner_steps", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "batch_norm", [pytest.param("inference", marks=pytest.mark.slow), "batch", "support"]
)
def test_batch_normalization_is_exact_on_any_statistics(batch_norm, inner_steps):
    def make():
        return image_net(
            layers.Conv2D(2, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.DepthwiseConv2D(2),
            layers.BatchNormalization(scale=False),
            layers.Activation("softplus"),
        )

    objective = objective_on(make, inner_steps=inner_steps, batch_norm=batch_norm)
    check_gradients(objective, number=1)


def test_batch_normalization_along_another_axis_is_exact():
    objective = objective_on(
        lambda: image_net(layers.Conv2D(2, 3), layers.BatchNormalization(axis=1, center=False)),
        batch_norm="batch",
    )
    check_gradients(objective, number=1)


@pytest.mark.slow
def test_the_three_statistics_differ():
    def query_loss(batch_norm):
        objective = objective_on(EXACT["BatchNormalization"], batch_norm=batch_norm)
        return objective(objective.values)

    found = [query_loss(batch_norm) for batch_norm in ("inference", "batch", "support")]
    assert min(abs(a - b) for a, b in zip(found, [*found[1:], found[0]], strict=True)) > 1e-4


REFUSED = {
    "LayerNormalization": layers.LayerNormalization,
    "GroupNormalization": lambda: layers.GroupNormalization(2),
    "UpSampling2D": lambda: layers.UpSampling2D(interpolation="bilinear"),
    "Resizing": lambda: layers.Resizing(5, 5),
    "softsign": lambda: layers.Activation("softsign"),
}


def refused_net(kind):
    return image_net(layers.Conv2D(2, 3, activation="tanh"), REFUSED[kind]())


@pytest.mark.parametrize("kind", REFUSED)
def test_a_layer_with_wrong_second_derivatives_is_refused_by_name(kind):
    model = refused_net(kind)
    with pytest.raises(SecondOrderGradientError, match="first_order=True") as raised:
        MAML(model)
    assert raised.value.layers == (model.layers[1].name,)
    assert model.layers[1].name in str(raised.value)
    FirstOrderMAML(model)


@pytest.mark.parametrize("kind", ["LayerNormalization", "GroupNormalization", "softsign"])
def test_a_refused_layer_is_right_to_first_order(kind):
    """It gives the gradient at the adapted weights, which is what FOMAML descends."""
    learner = learner_on(FirstOrderMAML, refused_net(kind), inner_lr=0.2)
    objective = Objective(learner, make_episode((6, 6, 2)), Phase(first_order=True))
    loss, (start, extras) = learner.compiled.loss, learner.read()
    adapted = list(learner.adapted(loss, start, extras, objective.episode, 1))

    def query_loss(values):
        return float(loss.query(tuple(values), objective.episode)[0])

    generator = np.random.default_rng(0)
    for index, gradient in enumerate(objective.gradients()):
        direction = generator.normal(size=gradient.shape)
        expected = central_difference(query_loss, adapted, index, direction, 1e-5)
        np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-6, atol=1e-9)
