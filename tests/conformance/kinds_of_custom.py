"""Kinds of models with layers of the user's own."""

import keras
import numpy as np

from tests.conformance.model_kinds import NUM_CLASSES, arrays, register
from tests.small_models import randomize

layers = keras.layers
IMAGE = (6, 6, 2)


def classifier(*parts, shape=IMAGE):
    head = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(NUM_CLASSES, name="head")]
    return randomize(keras.Sequential([keras.Input(shape), *parts, *head]), seed=1)


@keras.saving.register_keras_serializable(package="tests")
class Scale(layers.Layer):
    """A custom layer with a weight of its own."""

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=input_shape[-1:], initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


@register(
    "custom_layer", slow=True, inputs=arrays(*IMAGE), compressed=("conv", "head"), left=("Scale",)
)
def custom_layer():
    return classifier(layers.Conv2D(4, 3, activation="relu", name="conv"), Scale(name="scale"))


@keras.saving.register_keras_serializable(package="tests")
class ResidualBlock(layers.Layer):
    """A custom layer made of layers, with a weight of its own."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.convs = [layers.Conv2D(width, 3, padding="same", name=f"conv{i}") for i in range(2)]
        self.norms = {"first": layers.BatchNormalization(name="norm")}

    def build(self, input_shape):
        shape = tuple(input_shape)
        self.convs[0].build(shape)
        self.norms["first"].build((*shape[:-1], self.width))
        self.convs[1].build((*shape[:-1], self.width))
        self.gate = self.add_weight(name="gate", shape=(), initializer="ones")

    def call(self, inputs, training=False):
        x = keras.ops.relu(self.norms["first"](self.convs[0](inputs), training=training))
        return inputs + self.gate * self.convs[1](x)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@register(
    "custom_block",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("stem", "block/conv0", "block/conv1", "head"),
    left=("BatchNormalization", "ResidualBlock"),
)
def custom_block():
    return classifier(
        layers.Conv2D(4, 3, activation="relu", name="stem"), ResidualBlock(4, name="block")
    )


@keras.saving.register_keras_serializable(package="tests")
class Borrower(layers.Layer):
    """A custom layer that reads the kernel of a layer inside it without calling that layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4, use_bias=False, name="inner")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.inner.kernel)


@register(
    "custom_reader", slow=True, inputs=arrays(*IMAGE), compressed=("conv", "head"), left=("Dense",)
)
def custom_reader():
    return classifier(layers.Conv2D(4, 3, activation="relu", name="conv"), Borrower(name="borrow"))


@keras.saving.register_keras_serializable(package="tests")
class BlockNet(keras.Model):
    """A subclassed model of custom layers that hold layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(4, 3, activation="relu", name="stem")
        self.blocks = [ResidualBlock(4, name=f"block{i}") for i in range(2)]
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = layers.Dense(NUM_CLASSES, name="head")

    def call(self, inputs, training=False):
        x = self.stem(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.pool(x))


@register(
    "subclassed_blocks",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("stem", "block0/conv0", "block1/conv1", "head"),
    left=("BatchNormalization", "ResidualBlock"),
)
def subclassed_blocks():
    model = BlockNet(name="block_net")
    model(np.zeros((1, *IMAGE), "float32"))
    return randomize(model)


@register("lambda", slow=True, inputs=arrays(*IMAGE), compressed=("conv", "head"))
def lambda_layer():
    double = layers.Lambda(twice, name="double")
    return classifier(layers.Conv2D(4, 3, activation="relu", name="conv"), double)


@keras.saving.register_keras_serializable(package="tests")
def twice(inputs):
    return 2.0 * inputs
