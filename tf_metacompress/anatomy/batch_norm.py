"""BatchNormalization behind a kernel: found in the graph, read as a gain per channel."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.anatomy.trace import LayerCall
from tf_metacompress.ops import folding_gain


def consumers(calls: Sequence[LayerCall]) -> dict[int, list[int]]:
    """Lists, for each call, the calls that read its result.

    Args:
        calls: A trace.

    Returns:
        Index of a call to the indices of its readers.
    """
    readers: dict[int, list[int]] = {index: [] for index in range(len(calls))}
    for index, call in enumerate(calls):
        for producer in call.producers:
            if producer >= 0:
                readers[producer].append(index)
    return readers


def only_reader(
    calls: Sequence[LayerCall], readers: dict[int, list[int]], index: int
) -> keras.layers.Layer | None:
    """Finds the layer that alone reads the result of a call.

    Args:
        calls: A trace.
        readers: What `consumers` gave for it.
        index: Position of the call.

    Returns:
        The layer, or None if several layers, a plain operator or the caller of the model read it.
    """
    call = calls[index]
    if len(readers[index]) != 1 or call.is_output or call.read_by_op:
        return None
    return calls[readers[index][0]].layer


def is_linear(layer: keras.layers.Layer) -> bool:
    """Whether a layer applies no activation of its own."""
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def followers(calls: Sequence[LayerCall]) -> dict[str, keras.layers.BatchNormalization]:
    """Finds the BatchNormalization that will be folded into each kernel.

    It must be the only reader, plain operators included, of a linear layer whose kind folds, called
    once, on the last axis, whose own result the model does not return.

    Args:
        calls: A trace.

    Returns:
        Path of the layer to the BatchNormalization behind it.
    """
    readers = consumers(calls)
    times_called: dict[str, int] = {}
    for call in calls:
        times_called[call.path] = times_called.get(call.path, 0) + 1
    found = {}
    for index, call in enumerate(calls):
        reader = only_reader(calls, readers, index)
        if reader is None or times_called[call.path] != 1:
            continue
        kind = kind_of(call.layer)
        if (
            isinstance(reader, keras.layers.BatchNormalization)
            and kind is not None
            and kind.folds
            and is_linear(call.layer)
            and reader.axis in (-1, len(call.output_shape) - 1)
        ):
            found[call.path] = reader
    return found


def gain_array(
    batch_norm: keras.layers.BatchNormalization,
    kernel_shape: Sequence[int],
    channel_axis: Sequence[int],
) -> np.ndarray:
    """What BatchNormalization multiplies a kernel with at inference.

    Args:
        batch_norm: A built layer.
        kernel_shape: Shape of the kernel before it.
        channel_axis: Axes of the kernel's output channels.

    Returns:
        Float32 array, broadcastable to the kernel.
    """
    gamma = tf.convert_to_tensor(batch_norm.gamma) if batch_norm.scale else None
    variance = tf.convert_to_tensor(batch_norm.moving_variance)
    return np.asarray(folding_gain(gamma, variance, batch_norm.epsilon, kernel_shape, channel_axis))
