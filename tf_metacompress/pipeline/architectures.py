"""Small image classifiers: four to learn from and a fifth to be judged on."""

from collections.abc import Callable

import keras

layers = keras.layers
Shape = tuple[int, ...]
Build = Callable[[Shape, int], keras.Model]


class _Stack:
    """Builds a Functional model layer by layer, naming each."""

    def __init__(self, shape: Shape) -> None:
        self.inputs = keras.Input(shape, name="image")
        self.x = self.inputs
        self.count = 0

    def add(self, make: Callable[..., keras.layers.Layer], *args: object, **kwargs: object) -> None:
        self.count += 1
        kind = make.__name__.lower().replace("normalization", "")
        self.x = make(*args, name=f"{kind}_{self.count}", **kwargs)(self.x)

    def conv_bn(self, filters: int, size: int, strides: int = 1, relu: bool = True) -> None:
        self.add(layers.Conv2D, filters, size, strides=strides, padding="same", use_bias=False)
        self.add(layers.BatchNormalization, momentum=0.9)
        if relu:
            self.add(layers.ReLU)

    def depthwise_bn(self, strides: int = 1) -> None:
        self.add(layers.DepthwiseConv2D, 3, strides=strides, padding="same", use_bias=False)
        self.add(layers.BatchNormalization, momentum=0.9)
        self.add(layers.ReLU)

    def residual(self, filters: int) -> None:
        shortcut = self.x
        self.conv_bn(filters, 3)
        self.conv_bn(filters, 3, relu=False)
        self.count += 1
        self.x = layers.Add(name=f"add_{self.count}")([shortcut, self.x])
        self.add(layers.ReLU)

    def classifier(self, num_classes: int, units: int = 0) -> keras.Model:
        self.add(layers.GlobalAveragePooling2D)
        if units:
            self.add(layers.Dense, units, activation="relu")
        outputs = layers.Dense(num_classes, activation="softmax", name="head")(self.x)
        return keras.Model(self.inputs, outputs)


def _entry_strides(shape: Shape) -> int:
    return 1 if shape[0] < 16 else 2


def plain(shape: Shape, num_classes: int) -> keras.Model:
    """Three convolutions and two dense layers."""
    stack = _Stack(shape)
    for filters, strides in ((16, _entry_strides(shape)), (32, 2), (48, 2)):
        stack.add(layers.Conv2D, filters, 3, strides=strides, padding="same", activation="relu")
    return stack.classifier(num_classes, units=64)


def residual(shape: Shape, num_classes: int) -> keras.Model:
    """Two residual blocks with BatchNormalization."""
    stack = _Stack(shape)
    stack.conv_bn(24, 3, _entry_strides(shape))
    stack.residual(24)
    stack.conv_bn(40, 3, strides=2)
    stack.residual(40)
    return stack.classifier(num_classes)


def separable(shape: Shape, num_classes: int) -> keras.Model:
    """Depthwise-separable convolutions with BatchNormalization."""
    stack = _Stack(shape)
    stack.conv_bn(24, 3, _entry_strides(shape))
    for filters, strides in ((48, 2), (64, 1), (96, 2)):
        stack.depthwise_bn(strides)
        stack.conv_bn(filters, 1)
    return stack.classifier(num_classes)


def perceptron(shape: Shape, num_classes: int) -> keras.Model:
    """Two hidden dense layers."""
    stack = _Stack(shape)
    stack.add(layers.Flatten)
    for units in (128, 64):
        stack.add(layers.Dense, units, activation="relu")
    outputs = layers.Dense(num_classes, activation="softmax", name="head")(stack.x)
    return keras.Model(stack.inputs, outputs)


def mixed(shape: Shape, num_classes: int) -> keras.Model:
    """A depthwise-separable entry, a residual block and a dense layer: the one held out."""
    stack = _Stack(shape)
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
