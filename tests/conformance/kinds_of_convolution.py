"""Kinds of models by their convolutions and normalizations."""

import keras

from tests.conformance.model_kinds import NUM_CLASSES, arrays, register
from tests.small_models import randomize

layers = keras.layers
IMAGE = (8, 8, 3)


def classifier(*parts, shape=IMAGE, name="classifier"):
    head = [layers.Flatten(name="flatten"), layers.Dense(NUM_CLASSES, name="head")]
    return randomize(keras.Sequential([keras.Input(shape), *parts, *head], name=name), seed=1)


def norm(name="norm"):
    return layers.BatchNormalization(name=name)


def relu(name="relu"):
    return layers.ReLU(name=name)


@register("sequential", inputs=arrays(*IMAGE), compressed=("conv", "head"))
def sequential():
    return classifier(layers.Conv2D(4, 3, activation="relu", name="conv"))


@register(
    "depthwise",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("depthwise", "pointwise", "head"),
    left=("BatchNormalization",),
)
def depthwise():
    return classifier(
        layers.DepthwiseConv2D(3, use_bias=False, depth_multiplier=2, name="depthwise"),
        norm("norm1"),
        relu("relu1"),
        layers.Conv2D(4, 1, use_bias=False, name="pointwise"),
        norm("norm2"),
        relu("relu2"),
    )


@register("separable", slow=True, inputs=arrays(*IMAGE), compressed=("separable", "head"))
def separable():
    return classifier(layers.SeparableConv2D(4, 3, activation="relu", name="separable"))


@register("transposed", slow=True, inputs=arrays(*IMAGE), compressed=("transposed", "head"))
def transposed():
    return classifier(layers.Conv2DTranspose(4, 3, strides=2, name="transposed"), relu())


@register("dilated", slow=True, inputs=arrays(*IMAGE), compressed=("dilated", "head"))
def dilated():
    return classifier(layers.Conv2D(4, 3, dilation_rate=2, name="dilated"), relu())


@register("grouped", slow=True, inputs=arrays(8, 8, 4), compressed=("grouped", "head"))
def grouped():
    return classifier(layers.Conv2D(4, 3, groups=2, name="grouped"), relu(), shape=(8, 8, 4))


@register(
    "conv1d",
    slow=True,
    inputs=arrays(12, 3),
    compressed=("conv", "depthwise", "separable", "head"),
    left=("BatchNormalization",),
)
def conv1d():
    return classifier(
        layers.Conv1D(4, 3, use_bias=False, name="conv"),
        norm(),
        relu(),
        layers.DepthwiseConv1D(3, name="depthwise"),
        layers.SeparableConv1D(4, 3, name="separable"),
        shape=(12, 3),
    )


@register(
    "conv3d",
    slow=True,
    inputs=arrays(5, 6, 6, 2),
    compressed=("conv", "head"),
    left=("BatchNormalization",),
    stays_float={"conv": "CONV_3D"},
)
def conv3d():
    return classifier(
        layers.Conv3D(4, 3, use_bias=False, name="conv"), norm(), relu(), shape=(5, 6, 6, 2)
    )


@register("conv1d_transpose", slow=True, inputs=arrays(6, 3), compressed=("transposed", "head"))
def conv1d_transpose():
    return classifier(
        layers.Conv1DTranspose(4, 3, strides=2, name="transposed"), relu(), shape=(6, 3)
    )


@register(
    "conv3d_transpose",
    slow=True,
    inputs=arrays(3, 4, 4, 2),
    compressed=("transposed", "head"),
    stays_float={"transposed": "CONV_3D_TRANSPOSE"},
)
def conv3d_transpose():
    return classifier(
        layers.Conv3DTranspose(3, 2, strides=2, name="transposed"), relu(), shape=(3, 4, 4, 2)
    )


@register(
    "norm_behind",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "head"),
    left=("BatchNormalization",),
)
def norm_behind():
    return classifier(layers.Conv2D(4, 3, use_bias=False, name="conv"), norm(), relu())


@register(
    "norm_before",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "head"),
    left=("BatchNormalization",),
)
def norm_before():
    return classifier(norm(), relu(), layers.Conv2D(4, 3, name="conv"))


@register(
    "norm_far",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "head"),
    left=("BatchNormalization",),
)
def norm_far():
    return classifier(
        layers.Conv2D(4, 3, name="conv"),
        relu(),
        layers.MaxPooling2D(name="pool"),
        norm(),
    )


@register(
    "layer_norm",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "head"),
    left=("LayerNormalization",),
)
def layer_norm():
    return classifier(
        layers.Conv2D(4, 3, name="conv"), layers.LayerNormalization(name="norm"), relu()
    )


@register(
    "activations",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv1", "conv2", "conv3", "head"),
    left=("PReLU",),
)
def activations():
    return classifier(
        layers.Conv2D(4, 3, activation="gelu", name="conv1"),
        layers.Conv2D(4, 3, activation="hard_silu", name="conv2"),
        layers.PReLU(shared_axes=(1, 2), name="prelu"),
        layers.Conv2D(4, 3, activation="silu", name="conv3"),
    )


@register("preprocessing", slow=True, inputs=arrays(*IMAGE), compressed=("conv", "head"))
def preprocessing():
    return classifier(
        layers.Rescaling(0.5, offset=0.1, name="rescaling"),
        layers.Normalization(mean=0.1, variance=2.0, name="normalization"),
        layers.RandomFlip(name="flip"),
        layers.Resizing(6, 6, name="resizing"),
        layers.CenterCrop(5, 5, name="crop"),
        layers.Conv2D(4, 3, activation="relu", name="conv"),
    )


@register(
    "learned_statistics",
    slow=True,
    inputs=arrays(*IMAGE),
    compressed=("conv", "head"),
    left=("Normalization",),
)
def learned_statistics():
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(arrays(*IMAGE)(8))
    return classifier(normalization, layers.Conv2D(4, 3, activation="relu", name="conv"))
