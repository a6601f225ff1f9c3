"""A policy for layers as formats for operators: what mode "mixed" computes with, and where."""

from collections.abc import Iterable, Mapping, Sequence

from tf_metacompress.deploy.constants import is_weight
from tf_metacompress.deploy.flatfile import OpInfo, Subgraph
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.modes import OpFormat
from tf_metacompress.policy import LayerPlan

_FLOAT = OpFormat(activation_bits=32, weight_bits=32)
_BYTE = 8
_PACKED = 4
_PACKED_OPS = ("FULLY_CONNECTED",)
_HALF = 16


def format_of(plan: LayerPlan, op: str) -> OpFormat:
    """Chooses the numbers that the runtime has for a plan.

    Args:
        plan: What was decided for the layer.
        op: Operator that the layer became, such as "CONV_2D".

    Returns:
        Integers of 8 bits or fewer become int8, weights of dense layers of 4 or fewer packed int4;
        a layer with float weights, or with activations of 32 bits, computes in float32.
    """
    if plan.weight_bits >= _HALF:
        return OpFormat(activation_bits=32, weight_bits=plan.weight_bits)
    if plan.activation_bits > _HALF:
        return OpFormat(activation_bits=32, weight_bits=_BYTE)
    if plan.activation_bits > _BYTE:
        return OpFormat(activation_bits=16, weight_bits=_BYTE)
    packed = plan.weight_bits <= _PACKED and op in _PACKED_OPS
    return OpFormat(activation_bits=_BYTE, weight_bits=_PACKED if packed else _BYTE)


def op_formats(
    graph: Subgraph, mapped: Sequence[LayerTensor], plans: Iterable[LayerPlan]
) -> dict[int, OpFormat]:
    """Gives every operator of a file its numbers.

    An operator with weights has those of its layer's plan, float32 without one. An operator without
    weights computes with integers where all that goes into it does, with the wider ones if they
    differ; one that reads only the file's inputs does as its readers do.

    Args:
        graph: A float32 graph.
        mapped: Which weight tensor each kernel became.
        plans: What was decided, layer by layer.

    Returns:
        Index of an operator to its format; operators in float32 throughout are left out.
    """
    by_layer = {plan.layer: plan for plan in plans}
    by_tensor = {
        entry.tensor: format_of(by_layer[entry.layer], entry.op)
        for entry in mapped
        if entry.layer in by_layer
    }
    chosen: dict[int, OpFormat | None] = {}
    for op in graph.ops:
        chosen[op.index] = _own_format(op, graph, by_tensor) or _joint(
            [chosen[source] for source in _sources(op, graph)]
        )
    for op in reversed(graph.ops):
        if chosen[op.index] is None:
            chosen[op.index] = _joint([chosen[reader] for reader in _readers(op, graph)])
    return {index: found for index, found in chosen.items() if found not in (None, _FLOAT)}


def _own_format(op: OpInfo, graph: Subgraph, by_tensor: Mapping[str, OpFormat]) -> OpFormat | None:
    """The format of an operator with weights; None for one without."""
    tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
    weights = [tensor for tensor in tensors if is_weight(tensor) and len(tensor.shape) > 1]
    known = [by_tensor[tensor.name] for tensor in weights if tensor.name in by_tensor]
    if known:
        return known[0]
    return _FLOAT if weights and op.name not in _ELEMENTWISE else None


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
