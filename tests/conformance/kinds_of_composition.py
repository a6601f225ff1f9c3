"""Kinds of models by how their layers are put together."""

import keras
import numpy as np

from tests.conformance.model_kinds import (
    NUM_CLASSES,
    arrays,
    class_loss,
    register,
    sequence_of,
    structure,
)
from tests.small_models import nested_net, randomize, residual_net, shared_net, subclassed_net

layers = keras.layers
IMAGE = (8, 8, 3)
register(
    "nested",
    slow=True,
    inputs=arrays(8, 8, 1),
    compressed=("backbone/conv", "backbone/inner/conv", "head"),
    left=("BatchNormalization",),
)(nested_net)
register(
    "subclassed",
    inputs=arrays(8, 8, 1),
    compressed=("conv0", "conv1", "head/dense", "head/logits"),
    left=("BatchNormalization",),
)(subclassed_net)
register(
    "residual",
    slow=True,
    inputs=arrays(6, 6, 2),
    loss=keras.losses.SparseCategoricalCrossentropy,
    compressed=("stem", "branch", "fused", "hidden", "head"),
    left=("BatchNormalization",),
)(residual_net)
register(
    "shared",
    inputs=structure(left=arrays(5), right=arrays(5, seed=1)),
    targets=lambda count: np.arange(count) % 2,
    compressed=("shared", "head"),
)(shared_net)


@register("functional", slow=True, inputs=arrays(*IMAGE), compressed=("left", "right", "head"))
def functional():
    """Two branches of one tensor, joined again."""
    inputs = keras.Input(IMAGE)
    left = layers.Conv2D(4, 3, padding="same", activation="relu", name="left")(inputs)
    right = layers.Conv2D(2, 1, name="right")(inputs)
    x = layers.Concatenate(name="join")([left, right])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return randomize(keras.Model(inputs, layers.Dense(NUM_CLASSES, name="head")(x)))


@register(
    "plain_ops",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv1", "conv2", "head"),
    left=("BatchNormalization",),
)
def plain_ops():
    """A Functional model with operators between its layers; one reads a conv beside its norm."""
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    y = layers.BatchNormalization(name="norm1")(x)
    x = keras.ops.relu(x + y)
    y = layers.Conv2D(4, 3, padding="same", name="conv2")(x)
    y = layers.BatchNormalization(name="norm2")(y)
    x = keras.ops.mean(keras.ops.relu6(x + 0.5 * y), axis=(1, 2))
    return randomize(keras.Model(inputs, layers.Dense(NUM_CLASSES, name="head")(x)))


@register(
    "squeeze_and_excite",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "squeeze", "excite", "head"),
    left=("BatchNormalization",),
)
def squeeze_and_excite():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    y = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    y = layers.Conv2D(2, 1, activation="relu", name="squeeze")(y)
    y = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(y)
    x = layers.Multiply(name="scale")([x, y])
    x = layers.GlobalAveragePooling2D(name="last_pool")(x)
    return randomize(keras.Model(inputs, layers.Dense(NUM_CLASSES, name="head")(x)))


@register(
    "dict_of_outputs",
    slow=True,
    inputs=structure(image=arrays(*IMAGE), extra=arrays(4, seed=1)),
    targets=lambda count: {
        "classes": np.arange(count) % NUM_CLASSES,
        "value": np.linspace(-1, 1, count, dtype="float32")[:, None],
    },
    loss=lambda: {"classes": class_loss(), "value": "mse"},
    compressed=("conv", "dense", "classes", "value"),
)
def dict_of_outputs():
    inputs = {"image": keras.Input(IMAGE, name="image"), "extra": keras.Input((4,), name="extra")}
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs["image"])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    y = layers.Dense(4, activation="relu", name="dense")(inputs["extra"])
    x = layers.Concatenate(name="join")([x, y])
    outputs = {
        "classes": layers.Dense(NUM_CLASSES, name="classes")(x),
        "value": layers.Dense(1, name="value")(x),
    }
    return randomize(keras.Model(inputs, outputs))


@register(
    "list_of_outputs",
    slow=True,
    inputs=sequence_of(arrays(6), arrays(4, seed=1)),
    targets=lambda count: [np.arange(count) % NUM_CLASSES] * 2,
    loss=lambda: [class_loss(), class_loss()],
    compressed=("first", "second", "head1", "head2"),
)
def list_of_outputs():
    inputs = [keras.Input((6,)), keras.Input((4,))]
    first = layers.Dense(5, activation="relu", name="first")(inputs[0])
    second = layers.Dense(5, name="second")(inputs[1])
    x = layers.Add(name="sum")([first, second])
    outputs = [
        layers.Dense(NUM_CLASSES, name="head1")(x),
        layers.Dense(NUM_CLASSES, name="head2")(first),
    ]
    return randomize(keras.Model(inputs, outputs))


@register(
    "backbone",
    inputs=arrays(32, 32, 3),
    compressed=("mobilenet_v2/Conv1", "mobilenet_v2/block_16_project", "head"),
    left=("BatchNormalization",),
    slow=True,
)
def backbone():
    """A model of `keras.applications` inside a classifier."""
    inner = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, include_top=False, weights=None, name="mobilenet_v2"
    )
    parts = [inner, layers.GlobalAveragePooling2D(name="pool")]
    return keras.Sequential(
        [keras.Input((32, 32, 3)), *parts, layers.Dense(NUM_CLASSES, name="head")]
    )


@keras.saving.register_keras_serializable(package="tests")
class PlainNet(keras.Model):
    """A subclassed model that adds and reshapes with plain operators."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(4, 3, padding="same", name="stem")
        self.norm = layers.BatchNormalization(name="norm")
        self.branch = layers.Conv2D(4, 3, padding="same", name="branch")
        self.head = layers.Dense(NUM_CLASSES, name="head")

    def call(self, inputs, training=False):
        x = self.stem(inputs)
        x = keras.ops.relu(self.norm(x, training=training) + x)
        x = x + self.branch(x)
        return self.head(keras.ops.reshape(x, (keras.ops.shape(x)[0], -1)))


@register(
    "subclassed_plain_ops",
    slow=True,
    inputs=arrays(4, 4, 2),
    compressed=("stem", "branch", "head"),
    left=("BatchNormalization",),
)
def subclassed_plain_ops():
    model = PlainNet(name="plain_net")
    model(np.zeros((1, 4, 4, 2), "float32"))
    return randomize(model)


@keras.saving.register_keras_serializable(package="tests")
class DictNet(keras.Model):
    """A subclassed model that takes and gives dictionaries."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left = layers.Dense(4, activation="relu", name="left")
        self.right = layers.Dense(4, activation="relu", name="right")
        self.classes = layers.Dense(NUM_CLASSES, name="classes")
        self.value = layers.Dense(1, name="value")

    def call(self, inputs):
        x = keras.ops.concatenate([self.left(inputs["left"]), self.right(inputs["right"])], -1)
        return {"classes": self.classes(x), "value": self.value(x)}


@register(
    "subclassed_dicts",
    slow=True,
    inputs=structure(left=arrays(5), right=arrays(3, seed=1)),
    targets=lambda count: {
        "classes": np.arange(count) % NUM_CLASSES,
        "value": np.linspace(-1, 1, count, dtype="float32")[:, None],
    },
    loss=lambda: {"classes": class_loss(), "value": "mse"},
    compressed=("left", "right", "classes", "value"),
)
def subclassed_dicts():
    model = DictNet(name="dict_net")
    model({"left": np.zeros((1, 5), "float32"), "right": np.zeros((1, 3), "float32")})
    return randomize(model)
