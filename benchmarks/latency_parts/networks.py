"""The four nets of the latency benchmarks, with random weights: time does not depend on them.

Paper: Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597.
"""

import keras
import numpy as np

layers = keras.layers


def resnet8():
    """The residual net of MLPerf Tiny's image classification, 32 x 32 pixels."""

    def convolution(x, filters, size, strides=1):
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolution(inputs, 16, 3))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(convolution(x, filters, 3, strides))
        y = convolution(y, filters, 3)
        shortcut = x if strides == 1 else layers.Conv2D(filters, 1, strides, padding="same")(x)
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="resnet8")


def ds_cnn():
    """The depthwise-separable net of MLPerf Tiny's keyword spotting, 49 x 10 coefficients."""

    def block(x, layer):
        return layers.ReLU()(layers.BatchNormalization()(layer(x)))

    inputs = keras.Input((49, 10, 1))
    x = block(inputs, layers.Conv2D(64, (10, 4), 2, padding="same", use_bias=False))
    for _ in range(4):
        x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        x = block(x, layers.Conv2D(64, 1, use_bias=False))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(x), name="ds_cnn")


def mobilenet_v1():
    """A quarter of MobileNetV1, 96 x 96 pixels, as in MLPerf Tiny's visual wake words."""
    return keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=2)


def mobilenet_v2():
    """MobileNetV2, 0.35 of the width, 96 x 96 pixels."""
    return keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)


NETWORKS = {
    "ResNet-8": resnet8,
    "DS-CNN": ds_cnn,
    "MobileNetV1-0.25": mobilenet_v1,
    "MobileNetV2-0.35": mobilenet_v2,
}


def shake(model, seed=0):
    """Gives BatchNormalization values of a trained net, so that channels differ."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "gamma" in variable.path or "variance" in variable.path:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif "beta" in variable.path or "mean" in variable.path:
            variable.assign(generator.normal(0.0, 0.2, variable.shape))
    return model


def build(name, seed=0):
    """Makes a net whose BatchNormalization has values as after training.

    Args:
        name: A key of `NETWORKS`.
        seed: Of all weights.

    Returns:
        A Keras model.
    """
    keras.utils.set_random_seed(seed)
    return shake(NETWORKS[name](), seed)


def samples_for(model, count=16):
    """Standard normal inputs, float32 of shape (count, ...)."""
    generator = np.random.default_rng(1)
    return generator.normal(size=(count, *model.input_shape[1:])).astype("float32")
