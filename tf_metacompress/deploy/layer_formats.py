"""A policy for layers as formats for operators: what mode "mixed" computes with, and where."""

from collections.abc import Iterable, Mapping, Sequence

from tf_metacompress.deploy.constants import is_weight
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.modes.op_formats import (
    BYTE_WEIGHTS,
    FAST_PACKED_OPS,
    OpFormat,
    op_key,
)
from tf_metacompress.policy import LayerPlan
from tf_metacompress.policy.stored_form import largest_level

_FLOAT = OpFormat(activation_bits=32, weight_bits=32)
_BYTE = 8
_PACKED = 4
_PACKED_LEVEL = 7
_HALF = 16


def format_of(plan: LayerPlan, op: str, packed_ops: Sequence[str] = FAST_PACKED_OPS) -> OpFormat:
    """Chooses the numbers that the runtime has for a plan.

    Args:
        plan: What was decided for the layer.
        op: Operator that the layer became, such as "CONV_2D".
        packed_ops: Operators whose weights are packed.

    Returns:
        Integers of 8 bits or fewer become int8, those of packed operators int4 if 7 levels are
        enough; a layer with float weights, or with activations of 32 bits, computes in float32.
    """
    if plan.weight_bits >= _HALF:
        return OpFormat(activation_bits=32, weight_bits=plan.weight_bits)
    if plan.activation_bits > _HALF:
        return BYTE_WEIGHTS
    if plan.activation_bits > _BYTE:
        return OpFormat(activation_bits=16, weight_bits=_BYTE)
    level = largest_level(plan)
    packed = op in packed_ops and level is not None and level <= _PACKED_LEVEL
    return OpFormat(activation_bits=_BYTE, weight_bits=_PACKED if packed else _BYTE)


def op_formats(
    file: FlatFile,
    mapped: Sequence[LayerTensor],
    plans: Iterable[LayerPlan],
    packed_ops: Sequence[str] = FAST_PACKED_OPS,
) -> dict[str, OpFormat]:
    """Gives every operator of a file its numbers.

    An operator with weights has those of its layer's plan, float32 without one. An operator without
    weights computes with integers where all that goes into it does, with the wider ones if they
    differ; one that reads only the file's inputs does as its readers do.

    Args:
        file: A float32 file.
        mapped: Which weight tensor each kernel became.
        plans: What was decided, layer by layer.
        packed_ops: Operators whose weights are packed where 4 bits hold them.

    Returns:
        Key of an operator to its format; operators in float32 throughout are left out. Inside loops
        the arithmetic is in float32 and only weights are stored in fewer bits.
    """
    by_layer = {plan.layer: plan for plan in plans}
    by_tensor = {
        entry.tensor: format_of(by_layer[entry.layer], entry.op, packed_ops)
        for entry in mapped
        if entry.layer in by_layer
    }
    formats = _in_main(file.main, by_tensor)
    for graph in file.subgraphs[1:]:
        for op in graph.ops:
            own = _own_format(op, graph, by_tensor)
            if own is not None:
                formats[op_key(op, graph)] = BYTE_WEIGHTS if own.is_integer else own
    return {key: found for key, found in formats.items() if found != _FLOAT}


def _in_main(graph: Subgraph, by_tensor: Mapping[str, OpFormat]) -> dict[str, OpFormat]:
    chosen: dict[int, OpFormat | None] = {}
    for op in graph.ops:
        own = _own_format(op, graph, by_tensor)
        chosen[op.index] = own or _joint([chosen[source] for source in _sources(op, graph)])
    for op in reversed(graph.ops):
        if chosen[op.index] is None:
            chosen[op.index] = _joint([chosen[reader] for reader in _readers(op, graph)])
    return {op_key(op, graph): chosen[op.index] or _FLOAT for op in graph.ops}


def _own_format(op: OpInfo, graph: Subgraph, by_tensor: Mapping[str, OpFormat]) -> OpFormat | None:
    """The format of an operator with weights; None for one without."""
    tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
    weights = [tensor for tensor in tensors if is_weight(tensor) and len(tensor.shape) > 1]
    known = [by_tensor[tensor.name] for tensor in weights if tensor.name in by_tensor]
    if known:
        return known[0]
    return _FLOAT if op.name in _LOOPS or (weights and op.name not in _ELEMENTWISE) else None


_LOOPS = ("WHILE", "IF")
_ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "PRELU")
"""Operators whose constants are no kernels, whatever their shape."""


def _joint(formats: Sequence[OpFormat | None]) -> OpFormat | None:
    """The format of an operator without weights; None where nothing decides it."""
    settled = [found for found in formats if found is not None]
    if not settled:
        return None
    if not all(found.is_integer for found in settled):
        return _FLOAT
    return OpFormat(
        activation_bits=max(found.activation_bits for found in settled), weight_bits=_BYTE
    )


def _sources(op: OpInfo, graph: Subgraph) -> list[int]:
    made = {index for index in op.inputs if index >= 0}
    return [other.index for other in graph.ops if made & set(other.outputs)]


def _readers(op: OpInfo, graph: Subgraph) -> list[int]:
    made = set(op.outputs)
    return [other.index for other in graph.ops if made & set(other.inputs)]
