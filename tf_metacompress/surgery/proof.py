"""Proof of a cut: the model without channels equals the model whose channels are zero."""

from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy.channels import ChannelGraph
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.policy.channel_group import OUTPUT, ChannelGroup
from tf_metacompress.surgery.rebuild import rebuild

TOLERANCE = 1e-5
_BATCH = 4
_SMALLEST = 1e-30


def zeroed_weights(
    groups: Sequence[ChannelGroup], removed: Sequence[Collection[int]], model: keras.Model
) -> list[tuple[keras.Variable, np.ndarray]]:
    """Weights with which some channels of a model are zero.

    Args:
        groups: Channel groups of the model.
        removed: For each group, the indices of its channels that are to be zero.
        model: The model. It is not changed.

    Returns:
        Each weight that differs, with its new value.
    """
    layers, values = leaf_layers(model), {}
    for group, channels in zip(groups, removed, strict=True):
        for member in group.members if channels else ():
            if member.role != OUTPUT:
                continue
            variable = weight_of(layers[member.layer], member.weight)
            _, array = values.setdefault(id(variable), (variable, np.array(variable)))
            positions = [place for channel in channels for place in member.positions[channel]]
            np.moveaxis(array, member.axis, 0)[positions] = 0
    return list(values.values())


def random_inputs(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Makes a batch for every input of a model: normal numbers, or integers 0 and 1.

    Args:
        model: A model with symbolic inputs. Unknown extents become 16.
        seed: Of the random numbers.

    Returns:
        One array an input, in the order of `model.inputs`.
    """
    generator = np.random.default_rng(seed)
    arrays = []
    for tensor in model.inputs:
        shape = (_BATCH, *(16 if n is None else n for n in tensor.shape[1:]))
        if keras.backend.is_float_dtype(tensor.dtype):
            arrays.append(generator.normal(size=shape).astype(tensor.dtype))
        elif "int" in tensor.dtype:
            arrays.append(generator.integers(0, 2, shape).astype(tensor.dtype))
        else:
            arrays.append(np.zeros(shape, tensor.dtype if tensor.dtype == "bool" else "str"))
    return arrays


def run(model: keras.Model, inputs: Any, weights: Sequence[tuple[Any, Any]] = ()) -> list[Any]:
    """Runs a model, perhaps with other values in its weights, and changes nothing.

    Args:
        model: The model.
        inputs: One array an input, or the structure that the model takes.
        weights: Variables and the values they have in this run.

    Returns:
        The outputs, flattened, in float64.
    """
    if isinstance(inputs, list) and getattr(model, "inputs", None):
        is_sequential = isinstance(model, keras.Sequential)
        structure = model.inputs[0] if is_sequential else model.input
        inputs = keras.tree.pack_sequence_as(structure, inputs)
    mapping = [(variable, keras.ops.convert_to_tensor(value)) for variable, value in weights]
    with keras.StatelessScope(state_mapping=mapping):
        outputs = model(inputs, training=False)
    return [np.asarray(output).astype(np.float64) for output in keras.tree.flatten(outputs)]


def difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Largest difference of outputs, relative to the largest value of each; inf for NaN.

    Probabilities are compared by their logarithms too: where a softmax is certain of one class,
    only the small ones still tell.

    Args:
        one: Outputs of a model.
        other: Outputs of another.

    Returns:
        The difference, at least 0.
    """
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        worst = max(worst, _gap(a, b, scale=float(np.max(np.abs(a), initial=0.0)) or 1.0))
        if _are_probabilities(a) and _are_probabilities(b):
            seen = (a > _SMALLEST) & (b > _SMALLEST)
            logs = np.log(a[seen]), np.log(b[seen])
            worst = max(worst, _gap(*logs, scale=max(1.0, -float(logs[0].min(initial=0.0)))))
    return worst


def _gap(a: np.ndarray, b: np.ndarray, scale: float) -> float:
    gap = float(np.max(np.abs(a - b), initial=0.0)) / scale
    return gap if np.isfinite(gap) else np.inf


def _are_probabilities(outputs: np.ndarray) -> bool:
    if outputs.ndim < 2 or outputs.shape[-1] < 2 or not (outputs >= 0).all():
        return False
    return bool((np.abs(outputs.sum(-1) - 1) < 1e-3).all())


def computes_in_float32(model: keras.Model) -> bool:
    """Whether all layers of a model compute in float32, so that 1e-5 can be seen."""
    return all(layer.compute_dtype == "float32" for layer in leaf_layers(model).values())


class Proof:
    """Compares cut models with the model they came from.

    Args:
        model: The model before the cut. It is not changed.
        graph: Its channels.
        samples: Real inputs, in the structure the model takes; None for random ones only.
    """

    def __init__(self, model: keras.Model, graph: ChannelGraph, samples: Any = None) -> None:
        self.graph = graph
        self.inputs = [random_inputs(model)]
        if samples is not None:
            self.inputs.append([np.asarray(array) for array in keras.tree.flatten(samples)])
        self._dtype = None if computes_in_float32(model) else "float32"
        self._model = model
        self._twin = model if self._dtype is None else rebuild(model, graph, (), self._dtype)

    def gap(self, smaller: keras.Model, removed: Sequence[Collection[int]]) -> float:
        """Measures how far a cut model is from the masked one.

        Args:
            smaller: The model after the cut.
            removed: For each group, the indices of the channels that are gone.

        Returns:
            Largest difference of outputs relative to their scale, over all inputs.
        """
        if self._dtype is not None:
            smaller = rebuild(self._model, self.graph, self._classes(removed), self._dtype)
        masked = zeroed_weights(self.graph.groups, removed, self._twin)
        return max(
            difference(run(self._twin, inputs, masked), run(smaller, inputs))
            for inputs in self.inputs
        )

    def _classes(self, removed: Sequence[Collection[int]]) -> list[int]:
        own = zip(self.graph.classes, removed, strict=True)
        return [int(classes[channel]) for classes, channels in own for channel in channels]
