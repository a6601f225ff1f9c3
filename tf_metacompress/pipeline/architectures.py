"""The image classifier of the demo: blocks that no family of the zoo has side by side."""

from collections.abc import Callable

import keras

from tf_metacompress.pipeline.layer_stack import LayerStack, Shape

layers = keras.layers


def mixed(shape: Shape, num_classes: int) -> keras.Model:
    """A depthwise-separable entry, a residual block and a hidden dense layer."""
    stack = LayerStack(shape)
    stack.conv_bn(32, 3, 1 if shape[0] < 16 else 2)
    stack.depthwise_bn(strides=2)
    stack.conv_bn(48, 1)
    stack.residual(48)
    return stack.classifier(num_classes, units=64)


HELD_OUT: tuple[str, Callable[[Shape, int], keras.Model]] = ("mixed", mixed)
