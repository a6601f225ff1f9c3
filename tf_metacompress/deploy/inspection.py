"""What a file really stores: layer by layer, and every tensor that is not int8."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.deploy.constants import real_values, real_values_at
from tf_metacompress.deploy.flatfile import FlatFile, Subgraph, TensorInfo
from tf_metacompress.deploy.integer_grid import grid_bits
from tf_metacompress.deploy.layer_map import LayerTensor, channel_axis
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import nonzero_count

_FLOAT32_ROUNDING = 1e-6
_INT8_BITS = 8
_LARGEST_CODEBOOK = 2**_INT8_BITS


@dataclass(frozen=True, kw_only=True)
class LayerStorage(Record):
    """How one kernel is stored.

    Attributes:
        layer: Path of the Keras layer.
        kernel: Position among the layer's kernels.
        op: Operator that uses it, such as "CONV_2D".
        tensor: Name of its tensor in the file.
        stored: Stored type, such as "int4", "int8", "float16".
        shape: Shape in the file.
        constant_bytes: Bytes it takes.
        nonzero_share: Share of its weights that are not zero, in [0, 1].
        grid_bits: Fewest bits whose symmetric integer grid holds the trained weights without loss,
            in whatever type they are stored; 9 for more levels than a file can store; None when
            they are on no such grid.
        exact: Whether the file stands for the trained weights to the rounding of float32.
        rounding_error: Root mean square of what storing changed, relative to that of the trained
            weights.
        codebook: Most different values in one channel, where the trained weights are on no grid but
            share few values; rounding adds none. None elsewhere.
        by_value: Whether it was recognised by its values; otherwise only by shape and order.
        sparse: Whether it is in the sparse encoding; `constant_bytes` are then those of its values.
    """

    layer: str
    kernel: int
    op: str
    tensor: str
    stored: str
    shape: tuple[int, ...]
    constant_bytes: int
    nonzero_share: float
    grid_bits: int | None
    exact: bool
    rounding_error: float
    codebook: int | None
    by_value: bool
    sparse: bool = False

    @property
    def in_bytes(self) -> bool:
        """Whether fewer than 8 bits would hold it without loss, but it is stored in int8."""
        fewer = self.grid_bits is not None and self.grid_bits < _INT8_BITS
        return self.stored == "int8" and fewer


@dataclass(frozen=True, kw_only=True)
class TensorNote(Record):
    """A tensor that is not int8: its name, its type, and what it is."""

    tensor: str
    type: str
    what: str


def layer_storage(
    file: FlatFile, mapped: Sequence[LayerTensor], trained: FlatFile
) -> tuple[LayerStorage, ...]:
    """Looks up how each mapped kernel is stored in the exported file.

    Args:
        file: The exported file.
        mapped: Kernel to tensor name, found in the float32 file it was made from.
        trained: That float32 file.

    Returns:
        One entry a kernel whose tensor is still there.
    """
    tensors, originals = _by_name(file), _by_name(trained)
    return tuple(
        _storage(entry, tensors[entry.tensor], originals[entry.tensor])
        for entry in mapped
        if entry.tensor in tensors
    )


def _by_name(file: FlatFile) -> dict[str, TensorInfo]:
    return {
        tensor.name: tensor
        for graph in file.subgraphs
        for tensor in reversed(graph.tensors)
        if tensor.is_constant
    }


def _storage(entry: LayerTensor, tensor: TensorInfo, trained: TensorInfo) -> LayerStorage:
    nonzero, total = nonzero_count(tensor)
    weights = real_values(trained)
    stored = real_values_at(tensor, weights != 0) if tensor.sparse else real_values(tensor)
    change = np.abs(stored - weights)
    size = np.linalg.norm(weights)
    axis = channel_axis(entry.op)
    bits = grid_bits(weights, axis)
    return LayerStorage(
        layer=entry.layer,
        kernel=entry.kernel,
        op=entry.op,
        tensor=entry.tensor,
        stored=tensor.type,
        shape=tensor.shape,
        constant_bytes=len(tensor.data),
        nonzero_share=nonzero / total if total else 0.0,
        grid_bits=bits,
        exact=bool((change <= _FLOAT32_ROUNDING * np.abs(weights)).all()),
        rounding_error=float(np.linalg.norm(change) / size) if size else 0.0,
        codebook=None if bits else _codebook(weights, axis),
        by_value=entry.by_value,
        sparse=tensor.sparse,
    )


def _codebook(weights: np.ndarray, axis: int) -> int | None:
    rows = np.sort(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1), axis=1)
    counts = 1 + (np.diff(rows, axis=1) != 0).sum(axis=1)
    shared = counts.sum() <= np.count_nonzero(rows) / 2
    return int(counts.max()) if shared and counts.max() <= _LARGEST_CODEBOOK else None


def tensors_not_int8(file: FlatFile) -> tuple[TensorNote, ...]:
    """Lists every tensor that is not int8, with what it is.

    Args:
        file: An exported file.

    Returns:
        Notes in the order of the file.
    """
    graph = file.main
    return tuple(
        TensorNote(tensor=tensor.name, type=tensor.type, what=_role(tensor, graph))
        for tensor in graph.tensors
        if tensor.type != "int8"
    )


def float_ops(file: FlatFile) -> tuple[str, ...]:
    """Names the operators that compute on real numbers, each once, without conversions."""
    graph = file.main
    names = {}
    for op in graph.ops:
        used = [graph.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]
        if op.name not in ("QUANTIZE", "DEQUANTIZE") and any(t.type == "float32" for t in used):
            names[op.name] = None
    return tuple(names)


def _role(tensor: TensorInfo, graph: Subgraph) -> str:
    if tensor.index in graph.inputs:
        return "input of the file"
    if tensor.index in graph.outputs:
        return "output of the file"
    users = [op.name for op in graph.ops if tensor.index in op.inputs]
    user = users[0] if users else "nothing"
    if tensor.is_constant and tensor.type == "int4":
        return f"4-bit weights of {user}"
    if tensor.is_constant and tensor.scales.size:
        return f"bias of {user}"
    if tensor.is_constant:
        return f"constant of {user}"
    makers = [op.name for op in graph.ops if tensor.index in op.outputs]
    return f"result of {makers[0]}" if makers else "unused"
