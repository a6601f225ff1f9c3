"""`describe`: what a model consists of, as frozen data."""

import math
from collections.abc import Container, Iterator, Sequence

import keras
import numpy as np

from tf_metacompress.anatomy.batch_norm import followers, gain_array
from tf_metacompress.anatomy.checks import check_keras_model
from tf_metacompress.anatomy.kinds import KINDS, Kind, kind_of
from tf_metacompress.anatomy.trace import LayerCall, trace
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import (
    composite_layers,
    inner_layers,
    leaf_layers,
    own_weights,
    weight_of,
)
from tf_metacompress.policy import KernelInfo, LayerInfo, WeightStats

Kernels = tuple[np.ndarray, ...]


def _folded(layer: keras.layers.Layer, kind: Kind, path: str, batch_norms: dict) -> Kernels:
    """Kernels as deployed; of several, BatchNormalization folds into the last."""
    arrays = [np.asarray(weight_of(layer, name), np.float32) for name in kind.kernels]
    axes = list(kind.kernels.values())[-1]
    if path in batch_norms:
        arrays[-1] = arrays[-1] * gain_array(batch_norms[path], arrays[-1].shape, axes)
    return tuple(arrays)


def kernels_of_calls(calls: Sequence[LayerCall], folded: bool = True) -> dict[str, Kernels]:
    """Does what `kernel_arrays` does, for a model that has been traced already.

    Args:
        calls: Its trace.
        folded: Multiply each by the gain of the BatchNormalization behind it, as deployment does.

    Returns:
        Path of the layer to its kernels as float32, in the order of `LayerInfo.kernels`.
    """
    batch_norms = followers(calls) if folded else {}
    kernels: dict[str, Kernels] = {}
    for call in calls:
        kind = _compressible_kind(call)
        if kind and call.path not in kernels:
            kernels[call.path] = _folded(call.layer, kind, call.path, batch_norms)
    return kernels


def kernel_arrays(model: keras.Model, folded: bool = True) -> dict[str, Kernels]:
    """Reads the kernels of every compressible layer.

    Args:
        model: A built Keras 3 model.
        folded: Multiply each by the gain of the BatchNormalization behind it, as deployment does.

    Returns:
        Path of the layer to its kernels as float32, in the order of `LayerInfo.kernels`.
    """
    check_keras_model(model)
    return kernels_of_calls(trace(model), folded)


def _stats(kernels: Kernels) -> WeightStats:
    values = np.concatenate([kernel.ravel() for kernel in kernels]).astype(np.float64)
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    fourth = float(np.mean(centred**4))
    return WeightStats(
        mean_abs=float(np.abs(values).mean()),
        std=math.sqrt(variance),
        max_abs=float(np.abs(values).max()),
        kurtosis=fourth / variance**2 if variance > 0 else 0.0,
    )


def _compressible_kind(call: LayerCall) -> Kind | None:
    """The kind of a layer, if acting on its calls reaches all that its weights do."""
    return None if call.weights_read_elsewhere else kind_of(call.layer)


def _info(calls: Sequence[LayerCall], depth: float, kernels: Kernels | None) -> LayerInfo:
    first = calls[0]
    layer, kind = first.layer, _compressible_kind(first)
    macs = 0
    infos: tuple[KernelInfo, ...] = ()
    if kind is not None:
        macs = sum(kind.macs(layer, call.input_shapes[0], call.output_shape) for call in calls)
        infos = tuple(
            KernelInfo(name=name, shape=tuple(weight_of(layer, name).shape), channel_axis=axis)
            for name, axis in kind.kernels.items()
        )
    return LayerInfo(
        name=first.path,
        kind=type(layer).__name__,
        kernels=infos,
        num_params=_count(layer.weights),
        macs=macs,
        depth=depth,
        stats=_stats(kernels) if kernels else None,
        compressible=kind is not None,
        output_shape=(None, *first.output_shape[1:]),
    )


def describe(model: keras.Model) -> tuple[LayerInfo, ...]:
    """Lists the layers of a model that hold weights, with what a policy needs to know of them.

    The model is traced once, so Sequential, Functional, nested and subclassed models are read
    alike. The multiply-accumulates of a layer that is used several times add up.

    Args:
        model: A built Keras 3 model. It is not changed.

    Returns:
        One `LayerInfo` a layer, in execution order.

    Raises:
        UnsupportedModelError: For a Keras 2 (tf_keras) model.
        InvalidArgumentError: For a model that is not built.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="a")])
        >>> [(info.name, info.macs, info.num_params) for info in describe(model)]
        [('a', 1296, 40)]
    """
    check_keras_model(model)
    return describe_calls(model, trace(model))


def describe_calls(model: keras.Model, calls: Sequence[LayerCall]) -> tuple[LayerInfo, ...]:
    """Does what `describe` does, for a model that has been traced already.

    Args:
        model: A built Keras 3 model.
        calls: Its trace.

    Returns:
        One `LayerInfo` a layer, in execution order; layers that are not called come last.
    """
    kernels = kernels_of_calls(calls, folded=True)
    by_path: dict[str, list[LayerCall]] = {}
    for call in calls:
        if call.layer.weights:
            by_path.setdefault(call.path, []).append(call)
    last = max(len(by_path) - 1, 1)
    called = [
        _info(group, index / last, kernels.get(path))
        for index, (path, group) in enumerate(by_path.items())
    ]
    return (*called, *_not_called(model, by_path))


def _not_called(model: keras.Model, called: Container[str]) -> Iterator[LayerInfo]:
    """Weights that no call of an innermost layer uses: of custom layers, or read directly."""
    holders = {path: own_weights(layer) for path, layer in composite_layers(model).items()}
    idle = {path: layer.weights for path, layer in leaf_layers(model).items()}
    layers = inner_layers(model)
    for path, weights in (holders | idle).items():
        if weights and path not in called:
            yield LayerInfo(
                name=path,
                kind=type(layers[path]).__name__,
                num_params=_count(weights),
                depth=1.0,
                compressible=False,
            )


def _count(weights: Sequence[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def compressible_layers(model: keras.Model) -> tuple[LayerInfo, ...]:
    """Lists the layers of a model that a policy can act on.

    Args:
        model: A built Keras 3 model. It is not changed.

    Returns:
        At least one `LayerInfo`, in execution order.

    Raises:
        UnsupportedModelError: When the model has nothing to compress.
    """
    return select_compressible(describe(model))


def select_compressible(infos: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """Picks the layers that a policy can act on.

    Args:
        infos: All layers of a model, from `describe`.

    Returns:
        At least one `LayerInfo`, in execution order.

    Raises:
        UnsupportedModelError: When there is nothing to compress.
    """
    found = tuple(info for info in infos if info.compressible)
    if not found:
        raise UnsupportedModelError(
            "The model has nothing to compress: none of its layers is of a known kind. "
            f"Received: kinds={sorted({info.kind for info in infos})}. "
            f"Known kinds: {sorted(KINDS)}."
        )
    return found
