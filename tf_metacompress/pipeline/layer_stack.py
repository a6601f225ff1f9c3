"""Functional models built layer by layer, each layer named after its kind and its place."""

from collections.abc import Callable
from typing import Any

import keras

layers = keras.layers
Shape = tuple[int, ...]


class LayerStack:
    """Builds a Functional classifier layer by layer.

    Args:
        shape: Shape of one input: (height, width, channels), (steps, channels) or (features,).
    """

    def __init__(self, shape: Shape) -> None:
        self.inputs = keras.Input(shape, name="image" if len(shape) == 3 else "series")
        self.x = self.inputs
        self.count = 0

    @property
    def channels(self) -> int:
        """Channels of what the next layer gets."""
        return int(self.x.shape[-1])

    def add(self, make: Callable[..., keras.layers.Layer], *args: Any, **kwargs: Any) -> None:
        """Adds a layer.

        Args:
            make: Its class.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        self.x = make(*args, name=self._name(make), **kwargs)(self.x)

    def merge(self, make: Callable[..., keras.layers.Layer], other: Any) -> None:
        """Adds a layer that joins what came last with an earlier tensor."""
        self.x = make(name=self._name(make))([other, self.x])

    def _name(self, make: Callable[..., keras.layers.Layer]) -> str:
        self.count += 1
        kind = make.__name__.lower().replace("normalization", "")
        return f"{kind}_{self.count}"

    def conv_bn(self, filters: int, size: int, strides: int = 1, relu: bool = True) -> None:
        """Adds a 2-D convolution with BatchNormalization."""
        self.add(layers.Conv2D, filters, size, strides=strides, padding="same", use_bias=False)
        self.batch_norm(relu)

    def conv1d_bn(self, filters: int, size: int, strides: int = 1, relu: bool = True) -> None:
        """Adds a 1-D convolution with BatchNormalization."""
        self.add(layers.Conv1D, filters, size, strides=strides, padding="same", use_bias=False)
        self.batch_norm(relu)

    def depthwise_bn(self, strides: int = 1, size: int = 3) -> None:
        """Adds a 2-D depthwise convolution with BatchNormalization."""
        self.add(layers.DepthwiseConv2D, size, strides=strides, padding="same", use_bias=False)
        self.batch_norm()

    def batch_norm(self, relu: bool = True) -> None:
        """Adds BatchNormalization, and a ReLU if wanted."""
        self.add(layers.BatchNormalization, momentum=0.9)
        if relu:
            self.add(layers.ReLU)

    def join(self, shortcut: Any) -> None:
        """Adds an earlier tensor to what came last, and a ReLU."""
        self.merge(layers.Add, shortcut)
        self.add(layers.ReLU)

    def residual(self, filters: int) -> None:
        """Adds a residual block of two convolutions that keeps the shape."""
        shortcut = self.x
        self.conv_bn(filters, 3)
        self.conv_bn(filters, 3, relu=False)
        self.join(shortcut)

    def classifier(self, num_classes: int, units: int = 0) -> keras.Model:
        """Closes with the mean over places, a hidden dense layer if wanted, and the head.

        Args:
            num_classes: Outputs.
            units: Units of the hidden layer; 0 for none.

        Returns:
            The model.
        """
        pool = {4: layers.GlobalAveragePooling2D, 3: layers.GlobalAveragePooling1D}
        if len(self.x.shape) in pool:
            self.add(pool[len(self.x.shape)])
        if units:
            self.add(layers.Dense, units, activation="relu")
        return self.head(num_classes)

    def head(self, num_classes: int) -> keras.Model:
        """Closes with the head alone."""
        outputs = layers.Dense(num_classes, activation="softmax", name="head")(self.x)
        return keras.Model(self.inputs, outputs)
