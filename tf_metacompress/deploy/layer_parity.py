"""The first layer where an exported file and Keras part: layer by layer, tensor by tensor.

The results of Keras layers are found in the float32 file by value; a quantised file keeps the names
of its tensors, so the same names are compared there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.anatomy.signature import ModelSignature
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.parity import LayerParity, relative_error
from tf_metacompress.deploy.value_match import layer_results, same_tensors
from tf_metacompress.layer_tree import leaf_layers

_NUM_LOCATING = 2
_NUM_SAMPLES = 16

Results = Mapping[str, np.ndarray]
"""Path of a layer, with " (call 2)" for a shared one, to its result."""


@dataclass(frozen=True, kw_only=True)
class LayerSubject:
    """A Keras model and the float32 file it became.

    Attributes:
        model: The model that was converted.
        reference: The model that the file shall compute as: the same one, or the network of a
            student that rounds its activations, with layers at the same paths.
        signature: The inputs of both.
        file: The float32 file.
        mapped: What became of each kernel in it.
    """

    model: keras.Model
    reference: keras.Model
    signature: ModelSignature
    file: FlatFile
    mapped: Sequence[LayerTensor]


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """Errors in order of execution, and the layers with kernels that could not be compared."""

    layers: tuple[LayerParity, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the result of a layer is."""

    layer: str
    result: str
    tensor: str


def compare_layers(subject: LayerSubject, data: bytes, samples: Samples) -> LayerTable:
    """Compares every layer that can be seen in a file.

    Args:
        subject: The model and its float32 file.
        data: The exported file, whose tensors have the names they have there.
        samples: Inputs; at most 16, evenly spaced, are run.

    Returns:
        The errors. Layers inside loops, as those of an LSTM, are in `unseen`; the result of the
        whole LSTM is compared where an operator follows it.
    """
    places = _places(subject, samples.spread(_NUM_LOCATING))
    opened = LitertModel.open(data, trusted=True, keep_tensors=True)
    sums = {place: _Sums() for place in places}
    for single in samples.spread(_NUM_SAMPLES).singles():
        one = Samples(arrays=single, source=samples.source, num_given=1)
        expected = _results(subject.reference, subject.signature, one)
        actual = opened.run_all(single)
        for place, total in sums.items():
            if place.result in expected and place.tensor in actual:
                total.add(expected[place.result], actual[place.tensor])
    compared = tuple(_entry(place, total) for place, total in sums.items() if total.count)
    return LayerTable(layers=compared, unseen=_unseen(subject, compared))


class _Sums:
    """Squares of errors and of what was expected, added up sample by sample."""

    def __init__(self) -> None:
        self.count, self.error, self.scale, self.largest = 0, 0.0, 0.0, 0.0

    def add(self, expected: np.ndarray, actual: np.ndarray) -> None:
        if expected.size != actual.size:
            return
        wanted = expected.reshape(-1).astype(np.float64)
        apart = np.abs(actual.reshape(-1).astype(np.float64) - wanted)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        self.count += 1
        self.error += float(np.sum(apart**2))
        self.scale += float(np.sum(wanted**2))
        self.largest = max(self.largest, float(apart.max(initial=0.0)))


def _entry(place: _Place, total: _Sums) -> LayerParity:
    return LayerParity(
        layer=place.layer,
        result=place.result,
        tensor=place.tensor,
        relative_error=relative_error(total.error, total.scale),
        max_abs_error=total.largest,
    )


def _results(
    model: keras.Model, signature: ModelSignature, samples: Samples
) -> dict[str, np.ndarray]:
    found = layer_results(model, leaf_layers(model), signature, samples)
    return {
        path if call == 0 else f"{path} (call {call + 1})": result
        for path, calls in found.items()
        for call, result in enumerate(calls)
        if result.dtype.kind == "f"
    }


def _places(subject: LayerSubject, samples: Samples) -> list[_Place]:
    results = _results(subject.model, subject.signature, samples)
    opened = LitertModel.open(subject.file.data, trusted=True, keep_tensors=True)
    tensors = opened.run_all(samples.arrays)
    owners = dict(_owners(subject))
    found: dict[str, _Place] = {}
    for path, result in results.items():
        for name in same_tensors(result, tensors):
            if name not in found:
                found[name] = _Place(layer=owners.get(name, path), result=path, tensor=name)
                break
    by_result = {place.result: place for place in found.values()}
    if not _ends_are(subject.file, found):
        by_result |= _by_kernel(owners, results, tensors, by_result)
    return [by_result[path] for path in results if path in by_result]


def _owners(subject: LayerSubject) -> Iterator[tuple[str, str]]:
    """Gives tensors of the main graph that are computed with a kernel, and its layer."""
    graph = subject.file.main
    layers = {entry.tensor: entry.layer for entry in subject.mapped}
    for op in graph.ops:
        for index in op.inputs:
            name = graph.tensors[index].name if index >= 0 else ""
            if name in layers and op.outputs:
                yield graph.tensors[op.outputs[0]].name, layers[name]


def _ends_are(file: FlatFile, found: Mapping[str, _Place]) -> bool:
    """Whether the float32 file itself gives what Keras gives."""
    return all(file.main.tensors[index].name in found for index in file.output_names.values())


def _by_kernel(
    owners: Mapping[str, str],
    results: Results,
    tensors: Mapping[str, np.ndarray],
    by_result: Mapping[str, _Place],
) -> dict[str, _Place]:
    """Where values tell nothing, takes the operator with the kernel for the layer and what follows.

    What follows, up to the next kernel, may be fused: of those results the nearest is taken.
    """
    paths, kernels = list(results), set(owners.values())
    places = {}
    for tensor, layer in owners.items():
        if layer not in results or tensor not in tensors:
            continue
        start = paths.index(layer)
        later = (i for i, path in enumerate(paths) if i > start and path in kernels)
        chain = paths[start : next(later, len(paths))]
        fits = [path for path in chain if results[path].size == tensors[tensor].size]
        if fits and not any(path in by_result for path in chain):
            values = tensors[tensor].reshape(-1)
            nearest = min(fits, key=lambda path: _distance(results[path], values))
            places[nearest] = _Place(layer=layer, result=nearest, tensor=tensor)
    return places


def _distance(result: np.ndarray, values: np.ndarray) -> float:
    return float(np.linalg.norm(result.reshape(-1) - values))


def _unseen(subject: LayerSubject, compared: Sequence[LayerParity]) -> dict[str, str]:
    seen = {one.layer for one in compared} | {one.result for one in compared}
    main = {tensor.name for tensor in subject.file.main.tensors}
    return {
        entry.layer: (
            "its result is fused into another or has another layout in the file"
            if entry.tensor in main
            else "it is computed in a loop, which cannot be looked into"
        )
        for entry in subject.mapped
        if entry.layer not in seen
    }
