"""Small image classifiers: four to learn from and a fifth to be judged on."""

from collections.abc import Callable

import keras

from tf_metacompress.pipeline.layer_stack import LayerStack, Shape

layers = keras.layers
Build = Callable[[Shape, int], keras.Model]


def _entry_strides(shape: Shape) -> int:
    return 1 if shape[0] < 16 else 2


def plain(shape: Shape, num_classes: int) -> keras.Model:
    """Three convolutions and two dense layers."""
    stack = LayerStack(shape)
    for filters, strides in ((16, _entry_strides(shape)), (32, 2), (48, 2)):
        stack.add(layers.Conv2D, filters, 3, strides=strides, padding="same", activation="relu")
    return stack.classifier(num_classes, units=64)


def residual(shape: Shape, num_classes: int) -> keras.Model:
    """Two residual blocks with BatchNormalization."""
    stack = LayerStack(shape)
    stack.conv_bn(24, 3, _entry_strides(shape))
    stack.residual(24)
    stack.conv_bn(40, 3, strides=2)
    stack.residual(40)
    return stack.classifier(num_classes)


def separable(shape: Shape, num_classes: int) -> keras.Model:
    """Depthwise-separable convolutions with BatchNormalization."""
    stack = LayerStack(shape)
    stack.conv_bn(24, 3, _entry_strides(shape))
    for filters, strides in ((48, 2), (64, 1), (96, 2)):
        stack.depthwise_bn(strides)
        stack.conv_bn(filters, 1)
    return stack.classifier(num_classes)


def perceptron(shape: Shape, num_classes: int) -> keras.Model:
    """Two hidden dense layers."""
    stack = LayerStack(shape)
    stack.add(layers.Flatten)
    for units in (128, 64):
        stack.add(layers.Dense, units, activation="relu")
    return stack.head(num_classes)


def mixed(shape: Shape, num_classes: int) -> keras.Model:
    """A depthwise-separable entry, a residual block and a dense layer: the one held out."""
    stack = LayerStack(shape)
    stack.conv_bn(32, 3, _entry_strides(shape))
    stack.depthwise_bn(strides=2)
    stack.conv_bn(48, 1)
    stack.residual(48)
    return stack.classifier(num_classes, units=64)


TO_LEARN_FROM: dict[str, Build] = {
    "plain": plain,
    "residual": residual,
    "separable": separable,
    "perceptron": perceptron,
}
HELD_OUT: tuple[str, Build] = ("mixed", mixed)
