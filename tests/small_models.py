"""Tiny models of every shape that a user's model may have, with weights that are not at rest."""

import hashlib
import json

import keras
import numpy as np

layers = keras.layers


def randomize(model, seed=0):
    """Gives every weight a value of its own, moving variances positive ones."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if not variable.dtype.startswith("float"):
            continue
        value = generator.normal(scale=0.4, size=variable.shape)
        if "variance" in variable.path:
            value = generator.uniform(0.2, 3.0, variable.shape)
        if "gamma" in variable.path:
            value = generator.uniform(0.3, 2.0, variable.shape) * generator.choice(
                [-1.0, 1.0], variable.shape
            )
        variable.assign(value)
    return model


def conv_net():
    """A convolution, a depthwise and a separable one, each with BatchNormalization, and a head."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU(6.0, name="relu2")(layers.BatchNormalization(name="bn2")(x))
    x = layers.SeparableConv2D(6, 3, padding="same", name="separable")(x)
    x = layers.ReLU(name="relu3")(layers.BatchNormalization(name="bn3")(x))
    x = layers.Dropout(0.2, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(x))
    return randomize(
        keras.Model(inputs, layers.Dense(3, "softmax", name="head")(x), name="conv_net")
    )


def tiny_net():
    """The least that has every step of compression in it."""
    parts = [
        layers.Conv2D(4, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(3, "softmax", name="head"),
    ]
    return randomize(keras.Sequential([keras.Input((8, 8, 1)), *parts], name="tiny_net"))


def residual_net():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="relu_stem")(layers.BatchNormalization(name="bn_stem")(x))
    y = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    y = layers.BatchNormalization(name="bn_branch")(y)
    x = layers.ReLU(name="relu_join")(layers.Add(name="join")([x, y]))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="fused")(x)
    x = layers.MaxPooling2D(name="max_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(5, name="hidden")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    return randomize(keras.Model(inputs, layers.Dense(3, "softmax", name="head")(x)))


def dense_net(features=12, hidden=16, classes=3, activation="relu"):
    return keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(hidden, activation=activation, name="hidden"),
            layers.Dense(classes, activation="softmax", name="head"),
        ],
        name="dense_net",
    )


def nested_net():
    """A model inside a model inside a model."""
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu")],
        name="inner",
    )
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(inputs))
    backbone = keras.Model(inputs, inner(x), name="backbone")
    inputs = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D(name="pool")(backbone(inputs))
    return randomize(keras.Model(inputs, layers.Dense(3, name="head")(x), name="nested_net"))


def shared_net():
    """Two inputs through the same layer."""
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    shared = layers.Dense(4, activation="relu", name="shared")
    x = layers.Concatenate(name="join")([shared(left), shared(right)])
    outputs = layers.Dense(2, name="head")(x)
    return randomize(keras.Model({"left": left, "right": right}, outputs, name="shared_net"))


@keras.saving.register_keras_serializable(package="tests")
class SubclassedNet(keras.Model):
    """A subclassed model with a list of layers and a nested Sequential."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.blocks = [layers.Conv2D(width, 3, name=f"conv{i}") for i in range(2)]
        self.norm = layers.BatchNormalization(name="norm")
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = keras.Sequential(
            [layers.Dense(6, activation="relu", name="dense"), layers.Dense(3, name="logits")],
            name="head",
        )

    def call(self, inputs, training=False):
        x = keras.ops.relu(self.norm(self.blocks[0](inputs), training=training))
        return self.head(self.pool(self.blocks[1](x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def subclassed_net():
    model = SubclassedNet(name="subclassed_net")
    model(np.zeros((1, 8, 8, 1), "float32"))
    return randomize(model)


def images(count=16, seed=0, shape=(8, 8, 1), classes=3):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, *shape)).astype("float32")
    return x, generator.integers(0, classes, count)


def fingerprint(model):
    """Everything that must stay as it is in a model which is only read."""
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for variable in model.variables:
        digest.update(variable.path.encode() + np.asarray(variable).tobytes())
    redirected = [layer.name for layer in all_layers(model) if "call" in vars(layer)]
    return digest.hexdigest(), redirected


def all_layers(model):
    found = []
    for layer in model.layers:
        found += [layer, *(all_layers(layer) if isinstance(layer, keras.Model) else [])]
    return found
