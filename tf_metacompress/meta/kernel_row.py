"""The kernels of a model in one row, so that all are compressed by a few operations."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import kind_of
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.policy import LayerInfo

Weights = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]
"""The trainable and the other weights of a model."""


@dataclass(frozen=True, kw_only=True)
class KernelSlot:
    """Where one kernel of one layer stands among a model's variables.

    Attributes:
        row: Index of the layer among the compressible ones.
        index: Index of the variable; within the trainable ones, or the others.
        trainable: Which of the two lists `index` counts in.
        channel_axis: Axes of the kernel's output channels.
        shape: The kernel's shape.
    """

    row: int
    index: int
    trainable: bool
    channel_axis: tuple[int, ...]
    shape: tuple[int, ...]

    def channels(self) -> np.ndarray:
        """Number of the output channel of each weight, int array of the kernel's shape."""
        kept = [size if axis in self.channel_axis else 1 for axis, size in enumerate(self.shape)]
        return np.broadcast_to(np.arange(np.prod(kept, dtype=int)).reshape(kept), self.shape)


def kernel_slots(model: keras.Model, infos: Sequence[LayerInfo]) -> tuple[KernelSlot, ...]:
    """Locates the kernels of the compressible layers among a model's variables.

    Args:
        model: A built Keras 3 model.
        infos: Its compressible layers.

    Returns:
        One slot a kernel, layer by layer.
    """
    trainable = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
    others = {id(variable): i for i, variable in enumerate(model.non_trainable_variables)}
    layers = leaf_layers(model)
    slots = []
    for row, info in enumerate(infos):
        for name, axis in kind_of(layers[info.name]).kernels.items():
            kernel = weight_of(layers[info.name], name)
            is_trainable = id(kernel) in trainable
            slots.append(
                KernelSlot(
                    row=row,
                    index=(trainable if is_trainable else others)[id(kernel)],
                    trainable=is_trainable,
                    channel_axis=axis,
                    shape=tuple(kernel.shape),
                )
            )
    return tuple(slots)


def in_a_row(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Lays tensors out in one row, shape (weights,)."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def taken_apart(row: tf.Tensor, shapes: Sequence[Sequence[int]]) -> tuple[tf.Tensor, ...]:
    """Cuts a row into tensors of given shapes; the opposite of `in_a_row`."""
    parts = tf.split(row, [int(np.prod(shape)) for shape in shapes])
    return tuple(tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True))


class KernelRow:
    """The kernels of a model laid out in one row of weights.

    An operation on each kernel of a deep model makes graphs of thousands of operations, which take
    longer to build than to run; on the row it is one operation.

    Args:
        slots: Where the kernels are.

    Attributes:
        slots: The same.
        layer_of: Row of the layer that each weight belongs to, int32 (weights,).
        channel_of: Number of its output channel, counted over all kernels, int32 (weights,).
        num_channels: How many of these there are.
    """

    def __init__(self, slots: Sequence[KernelSlot]) -> None:
        self.slots = tuple(slots)
        layers, channels, count = [], [], 0
        for slot in self.slots:
            own = slot.channels().ravel()
            layers.append(np.full(own.size, slot.row, np.int32))
            channels.append((own + count).astype(np.int32))
            count += int(own.max()) + 1
        self.layer_of = tf.constant(np.concatenate(layers))
        self.channel_of = tf.constant(np.concatenate(channels))
        self.num_channels = count

    def kernels(self, weights: Weights) -> list[tf.Tensor]:
        """Picks the kernels among a model's weights, in the order of `slots`."""
        return [weights[not slot.trainable][slot.index] for slot in self.slots]

    def join(self, weights: Weights) -> tf.Tensor:
        """Lays the kernels among a model's weights out in a row, shape (weights,)."""
        return in_a_row(self.kernels(weights))

    def replace(
        self, weights: Weights, kernels: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Gives a model's weights with other kernels.

        Args:
            weights: Trainable and other weights of the model.
            kernels: In the order of `slots`.

        Returns:
            Trainable and other weights for `stateless_call`.
        """
        replaced = list(weights[0]), list(weights[1])
        for slot, kernel in zip(self.slots, kernels, strict=True):
            replaced[not slot.trainable][slot.index] = kernel
        return replaced

    def split(self, row: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Cuts a row into kernels, in the order of `slots`; the opposite of `join`."""
        return taken_apart(row, [slot.shape for slot in self.slots])
