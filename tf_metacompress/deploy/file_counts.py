"""Counts what a .tflite file holds: operators, tensors of each type, zeros of each weight."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tf_metacompress.deploy.constants import constants, is_weight
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph, TensorInfo, type_bits
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import nonzero_count

_WITH_WEIGHTS = (
    "CONV_2D",
    "CONV_3D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)
_FLOATS = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class OpCount(Record):
    """An operator and how often a file has it.

    Attributes:
        op: Its name, such as "CONV_2D".
        version: Version of the operator that the file asks for.
        count: How often it occurs, in all subgraphs.
        output_shapes: The different shapes of its outputs, in order.
    """

    op: str
    version: int
    count: int
    output_shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class TypeCount(Record):
    """Tensors of one stored type.

    Attributes:
        type: Such as "int8".
        constants: Tensors whose values the file holds, shared ones once.
        constant_bytes: Bytes of those.
        activations: The other tensors.
        activation_bytes: Bytes of those if each had a place of its own; the runtime has them share
            memory, so that its arena is smaller.
    """

    type: str
    constants: int
    constant_bytes: int
    activations: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class WeightZeros(Record):
    """A tensor of weights or a bias, and how many of its values are zero.

    Attributes:
        tensor: Its name.
        op: Operator that uses it, past a DEQUANTIZE.
        type: Stored type.
        shape: Extents.
        constant_bytes: Bytes it takes.
        sparsity: Share of its values that are zero, in [0, 1]; None where they cannot be counted.
        sparse: Whether it is stored in the sparse encoding.
    """

    tensor: str
    op: str
    type: str
    shape: tuple[int, ...]
    constant_bytes: int
    sparsity: float | None
    sparse: bool


def count_ops(file: FlatFile) -> tuple[OpCount, ...]:
    """Counts the operators of all subgraphs.

    Args:
        file: A checked file.

    Returns:
        One entry for each name and version, in the order they first occur.
    """
    found: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    counts: dict[tuple[str, int], int] = {}
    for graph in file.subgraphs:
        for op in graph.ops:
            key = (op.name, op.version)
            counts[key] = counts.get(key, 0) + 1
            found.setdefault(key, []).extend(graph.tensors[i].shape for i in op.outputs if i >= 0)
    return tuple(
        OpCount(
            op=name,
            version=version,
            count=counts[name, version],
            output_shapes=tuple(dict.fromkeys(shapes)),
        )
        for (name, version), shapes in found.items()
    )


def count_types(file: FlatFile) -> tuple[TypeCount, ...]:
    """Counts the tensors of each type in all subgraphs.

    Args:
        file: A checked file.

    Returns:
        One entry a type, by bytes of constants and then of activations, most first.
    """
    held = constants(file)
    made = [t for graph in file.subgraphs for t in graph.tensors if not t.is_constant]
    entries = [
        _type_count(kind, [t for t in held if t.type == kind], [t for t in made if t.type == kind])
        for kind in dict.fromkeys(tensor.type for tensor in (*held, *made))
    ]
    return tuple(sorted(entries, key=lambda e: (-e.constant_bytes, -e.activation_bytes, e.type)))


def _type_count(kind: str, held: list[TensorInfo], made: list[TensorInfo]) -> TypeCount:
    bits = type_bits(kind) or 0
    return TypeCount(
        type=kind,
        constants=len(held),
        constant_bytes=sum(len(tensor.data) for tensor in held),
        activations=len(made),
        activation_bytes=sum(-(-math.prod(tensor.shape) * bits // 8) for tensor in made),
    )


def count_zeros(file: FlatFile) -> tuple[WeightZeros, ...]:
    """Counts the zeros of each tensor of weights or biases.

    Args:
        file: A checked file.

    Returns:
        One entry for each constant with learned numbers, in the order of the file.
    """
    users: dict[int, str] = {}
    for graph in file.subgraphs:
        for index, op in _users(graph).items():
            users.setdefault(graph.tensors[index].buffer, op.name)
    return tuple(
        _zeros(tensor, users.get(tensor.buffer, ""))
        for tensor in constants(file)
        if is_weight(tensor)
    )


def _zeros(tensor: TensorInfo, op: str) -> WeightZeros:
    nonzero, total = nonzero_count(tensor)
    return WeightZeros(
        tensor=tensor.name,
        op=op,
        type=tensor.type,
        shape=tensor.shape,
        constant_bytes=len(tensor.data),
        sparsity=1.0 - nonzero / total if total else None,
        sparse=tensor.sparse,
    )


def _users(graph: Subgraph) -> dict[int, OpInfo]:
    """Constant by index to the operator that uses it first, past a DEQUANTIZE."""
    users: dict[int, OpInfo] = {}
    for op in graph.ops:
        for index in op.inputs:
            users.setdefault(index, op)
    found = {}
    for index, op in users.items():
        if index < 0 or not graph.tensors[index].is_constant:
            continue
        later = users.get(op.outputs[0]) if op.name == "DEQUANTIZE" and op.outputs else None
        found[index] = later or op
    return found


def stored_mode(file: FlatFile) -> str:
    """Names how a file stores and computes its layers.

    Args:
        file: A checked file.

    Returns:
        The export mode that makes such a file, "uint8" for the unsigned integers of earlier
        converters, "weight_only" for integer weights that are made floats before use, "mixed" for
        several of these, "none" for a file without weights.
    """
    modes = dict.fromkeys(
        mode for graph in file.subgraphs for mode in _modes(graph) if mode is not None
    )
    return next(iter(modes), "none") if len(modes) < 2 else "mixed"


def _modes(graph: Subgraph) -> Iterable[str | None]:
    converted = {
        output: graph.tensors[op.inputs[0]]
        for op in graph.ops
        if op.name == "DEQUANTIZE" and op.inputs and op.inputs[0] >= 0
        for output in op.outputs
        if graph.tensors[op.inputs[0]].is_constant
    }
    for op in graph.ops:
        if op.name in _WITH_WEIGHTS and len(op.inputs) > 1 and op.outputs:
            yield _mode(op, graph, converted)


def _mode(op: OpInfo, graph: Subgraph, converted: dict[int, TensorInfo]) -> str | None:
    chosen = [index for index in op.inputs[1:3] if index >= 0]
    weights = [converted.get(index, graph.tensors[index]) for index in chosen]
    held = [tensor for tensor in weights if tensor.is_constant]
    if not held or op.outputs[0] < 0:
        return None
    largest = max(held, key=lambda tensor: math.prod(tensor.shape))
    result = graph.tensors[op.outputs[0]].type
    if any(index in converted for index in chosen):
        return "float16" if largest.type == "float16" else "weight_only"
    if result in _FLOATS:
        return largest.type if largest.type in _FLOATS else "dynamic"
    return {"int16": "int16x8"}.get(result, result)
