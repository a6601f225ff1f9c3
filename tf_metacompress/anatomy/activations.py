"""Behind which layer the activation of a layer's result is found."""

import math
from collections.abc import Sequence

import keras

from tf_metacompress.anatomy.batch_norm import consumers, is_linear
from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.anatomy.trace import LayerCall

_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)


def activation_layers(calls: Sequence[LayerCall]) -> dict[str, str]:
    """Finds where to look at the activated results of the layers with kernels.

    That is the layer itself when it has an activation, else the activation layer that alone reads
    its result, perhaps through BatchNormalization. Channels must lie on the last axis. There is
    none behind an addition, whose zeros belong to several layers.

    Args:
        calls: A trace.

    Returns:
        Path of a layer to the path of the layer whose result is behind the activation; layers
        without such are left out.
    """
    readers = consumers(calls)
    found: dict[str, str] = {}
    for index, call in enumerate(calls):
        channels = _num_channels(call.layer)
        if channels is None or call.path in found:
            continue
        place = _activated(calls, readers, index)
        if place is not None and calls[place].output_shape[-1:] == (channels,):
            found[call.path] = calls[place].path
    return found


def _num_channels(layer: keras.layers.Layer) -> int | None:
    kind = kind_of(layer)
    if kind is None:
        return None
    name, axes = list(kind.kernels.items())[-1]
    shape = getattr(layer, name).shape if hasattr(layer, name) else None
    return math.prod(shape[axis] for axis in axes) if shape is not None and axes else None


def _activated(calls: Sequence[LayerCall], readers: dict[int, list[int]], index: int) -> int | None:
    """Index of the call behind the activation, following a chain of single readers."""
    if not is_linear(calls[index].layer):
        return index
    while len(readers[index]) == 1 and not calls[index].is_output and not calls[index].read_by_op:
        index = readers[index][0]
        layer = calls[index].layer
        if isinstance(layer, _ACTIVATIONS):
            return index
        if not isinstance(layer, keras.layers.BatchNormalization):
            return None
    return None
