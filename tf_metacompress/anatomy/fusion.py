"""Which tensors a device quantises: the results of its fused operators.

The runtime runs Conv → BatchNormalization → ReLU as one operator, so only the last result exists
as an int8 tensor. Fake quantisation during training must stand at the same places.
"""

from collections.abc import Sequence

import keras

from tf_metacompress.anatomy.batch_norm import consumers, followers, is_linear
from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.anatomy.trace import LayerCall

_FUSED_ACTIVATIONS = ("relu", "relu6")
_SHAPE_ONLY = (
    "Flatten",
    "Reshape",
    "Permute",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "Cropping2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "UpSampling2D",
)


def _is_fused_activation(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    return isinstance(layer, keras.layers.Activation) and name in _FUSED_ACTIVATIONS


def _absorbs(layer: keras.layers.Layer) -> bool:
    """Whether the operator of a layer can run an activation behind it as its own."""
    fuses = (keras.layers.BatchNormalization, keras.layers.Add)
    return is_linear(layer) and (kind_of(layer) is not None or isinstance(layer, fuses))


def _ends_in_softmax(layer: keras.layers.Layer) -> bool:
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.Softmax) or activation in ("softmax", "sigmoid")


def quantization_points(calls: Sequence[LayerCall]) -> frozenset[str]:
    """Finds the layers whose results become int8 tensors of their own.

    Left out: layers that only move values about, kernels whose BatchNormalization or ReLU is fused
    into them, results of softmax and sigmoid, whose grid the runtime fixes, and results that are
    integers or several tensors.

    Args:
        calls: A trace.

    Returns:
        Paths of the layers.
    """
    readers = consumers(calls)
    folded = followers(calls)
    points = set()
    for index, call in enumerate(calls):
        layer = call.layer
        if type(layer).__name__ in _SHAPE_ONLY or _ends_in_softmax(layer):
            continue
        if call.path in folded or not call.is_float_tensor:
            continue
        following = [calls[reader].layer for reader in readers[index]]
        is_only_read = len(following) == 1 and not call.is_output
        if is_only_read and _absorbs(layer) and _is_fused_activation(following[0]):
            continue
        points.add(call.path)
    return frozenset(points)
