"""Which tensors a device quantises: the results of its fused operators.

The runtime runs Conv → BatchNormalization → ReLU as one operator, so only the last result exists
as an int8 tensor. Fake quantisation during training must stand at the same places.
"""

from collections.abc import Sequence

import keras

from tf_metacompress.anatomy.batch_norm import consumers, followers, is_linear, only_reader
from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.anatomy.trace import LayerCall

Bounds = tuple[float | None, float | None]

_FUSED_ACTIVATIONS = ("relu", "relu6")
_CLIPPING_OPERATORS = {"Relu": None, "Relu6": 6.0}
_FIXED_GRIDS = ("softmax", "sigmoid", "tanh")
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


def only_clips(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a ReLU or a ReLU6 and nothing else, which a device fuses.

    Args:
        layer: Any Keras layer.

    Returns:
        True for such a layer, under whatever class Keras has for it.
    """
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.Activation) and name in _FUSED_ACTIVATIONS


def result_bounds(layer: keras.layers.Layer) -> Bounds:
    """Gives the least and greatest value that the activation of a layer lets through.

    Args:
        layer: Any Keras layer.

    Returns:
        (0, None) behind a ReLU, (0, 6) behind a ReLU6, else (None, None).
    """
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    if not only_clips(layer) and name not in _FUSED_ACTIVATIONS:
        return None, None
    ends_at_six = name == "relu6" or getattr(layer, "max_value", None) == 6.0
    return 0.0, 6.0 if ends_at_six else None


def bounds_by_path(calls: Sequence[LayerCall]) -> dict[str, Bounds]:
    """Gives the least and greatest value that goes on from each layer.

    A ReLU written as a plain operator behind a layer counts as part of it, as on the device.

    Args:
        calls: A trace.

    Returns:
        Path of each layer to what `result_bounds` gives.
    """
    by_path: dict[str, set[Bounds]] = {}
    for call in calls:
        bounds = result_bounds(call.layer)
        if call.clipped_by is not None and _absorbs(call.layer):
            bounds = 0.0, _CLIPPING_OPERATORS[call.clipped_by]
        by_path.setdefault(call.path, set()).add(bounds)
    return {
        path: found.pop() if len(found) == 1 else (None, None) for path, found in by_path.items()
    }


def _absorbs(layer: keras.layers.Layer) -> bool:
    """Whether the operator of a layer can run an activation behind it as its own."""
    kind = kind_of(layer)
    fuses = (keras.layers.BatchNormalization, keras.layers.Add)
    return is_linear(layer) and (isinstance(layer, fuses) if kind is None else kind.folds)


def _has_fixed_grid(layer: keras.layers.Layer) -> bool:
    """Whether the runtime sets the grid of the result, whatever its range."""
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.Softmax) or activation in _FIXED_GRIDS


def quantization_points(calls: Sequence[LayerCall]) -> frozenset[str]:
    """Finds the layers whose results become int8 tensors of their own.

    Left out: layers that only move values about, kernels whose BatchNormalization or ReLU is fused
    into them, results of softmax, sigmoid and tanh, whose grid the runtime fixes, results that only
    a Concatenate reads, whose range they share, and results that are integers or several tensors.

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
        if type(layer).__name__ in _SHAPE_ONLY or _has_fixed_grid(layer):
            continue
        if call.path in folded or not call.is_float_tensor:
            continue
        reader = only_reader(calls, readers, index)
        if reader is not None and _absorbs(layer) and only_clips(reader):
            continue
        if isinstance(reader, keras.layers.Concatenate):
            continue
        points.add(call.path)
    return frozenset(points)
