"""How many weights of a model are zero, as its forward pass uses them."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy import kind_of
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.wrappers import CompressedModel, compressor_of, pruners_of


@dataclass(frozen=True)
class SparsityReport:
    """Share of zeros in the kernels of a model.

    Attributes:
        layers: Path of each compressible layer to its sparsity in [0, 1].
        total: Sparsity over all their weights.
    """

    layers: Mapping[str, float]
    total: float


def measure_sparsity(model: keras.Model) -> SparsityReport:
    """Counts the zeros of a plain model, a student, or one being compressed in place.

    Args:
        model: A built Keras 3 model.

    Returns:
        The report.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="a")])
        >>> _ = model.layers[0].kernel.assign([[1.0, 0.0], [1.0, 1.0]])
        >>> measure_sparsity(model).layers
        {'a': 0.25}
    """
    network = model.network if isinstance(model, CompressedModel) else model
    zeros, sizes = {}, {}
    for path, layer in leaf_layers(network).items():
        kind = kind_of(layer)
        if kind is None:
            continue
        kernels = {name: weight_of(layer, name) for name in kind.kernels}
        compressor = compressor_of(layer)
        if compressor is not None:
            kernels |= compressor.compressed_kernels()
        for pruner in pruners_of(layer):
            kernels = {name: pruner.masked(path, name, kernels[name]) for name in kernels}
        arrays = [np.asarray(kernel) for kernel in kernels.values()]
        zeros[path] = sum(int(np.count_nonzero(array == 0)) for array in arrays)
        sizes[path] = sum(array.size for array in arrays)
    total = sum(zeros.values()) / max(sum(sizes.values()), 1)
    return SparsityReport({path: zeros[path] / sizes[path] for path in sizes}, total)
