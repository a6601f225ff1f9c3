"""Which numbers each operator of a file computes with, handed to ai-edge-quantizer op by op."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tf_metacompress.deploy.constants import stored_values
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph
from tf_metacompress.deploy.integer_grid import grid_bits
from tf_metacompress.typing import Packed

_DENSE, _CONVOLUTION = "FULLY_CONNECTED", "CONV_2D"
FAST_PACKED_OPS = (_DENSE,)
"""Operators for which the runtime has fast kernels with packed 4-bit weights."""

PACKED_OPS: Mapping[Packed, tuple[str, ...]] = {
    "dense": FAST_PACKED_OPS,
    "conv": (_CONVOLUTION,),
    "all": (_CONVOLUTION, _DENSE),
    "none": (),
}
"""What the user calls them, to operators. No runtime has depthwise kernels with packed weights."""

_ALL = TFLOperationName.ALL_SUPPORTED
_WEIGHT_INPUT = 1
_FLOAT_BITS = 32
_HALF_BITS = 16
_BYTE_BITS = 8
_PACKED_BITS = 4


@dataclass(frozen=True, kw_only=True)
class OpFormat:
    """The numbers of one operator.

    Attributes:
        activation_bits: 8 or 16 for integers, 32 for real numbers.
        weight_bits: 4 or 8 for integers, 16 for float16, 32 for float32. With 8-bit activations 4
            is chosen by itself for weights that lose nothing, in the layers that the user packs.
    """

    activation_bits: int
    weight_bits: int

    @property
    def is_integer(self) -> bool:
        """Whether the operator computes with integers."""
        return self.activation_bits < _FLOAT_BITS


@dataclass(frozen=True, kw_only=True)
class Border:
    """Formats of the inputs and of the outputs of a file; None for float32."""

    inputs: OpFormat | None = None
    outputs: OpFormat | None = None


INT8_FORMAT = OpFormat(activation_bits=8, weight_bits=8)
INT16_FORMAT = OpFormat(activation_bits=16, weight_bits=8)
BYTE_WEIGHTS = OpFormat(activation_bits=32, weight_bits=8)
"""Weights stored in int8, widened once when the runtime loads them."""


def op_key(op: OpInfo, graph: Subgraph) -> str:
    """Names an operator by the first tensor that it makes, which no other in the file has."""
    return graph.tensors[op.outputs[0]].name if op.outputs else ""


def uniform_formats(file: FlatFile, chosen: OpFormat) -> dict[str, OpFormat]:
    """Gives all operators one format, where the runtime has it.

    Args:
        file: A float32 file.
        chosen: The format.

    Returns:
        Key of an operator to its format. Inside loops, such as those of an LSTM, dense operators
        compute in float32 with weights stored in int8, and others are left out.
    """
    formats = {op_key(op, file.main): chosen for op in file.main.ops}
    return formats | {op_key(op, graph): BYTE_WEIGHTS for op, graph in _dense_in_loops(file)}


def _dense_in_loops(file: FlatFile) -> list[tuple[OpInfo, Subgraph]]:
    return [
        (op, graph)
        for graph in file.subgraphs[1:]
        for op in graph.ops
        if op.name == _DENSE and graph.tensors[op.inputs[_WEIGHT_INPUT]].is_constant
    ]


def with_packed_weights(
    graph: Subgraph, formats: Mapping[str, OpFormat], packed_ops: Sequence[str]
) -> dict[str, OpFormat]:
    """Chooses 4-bit weights where they lose nothing and are wanted.

    Args:
        graph: A float32 graph.
        formats: Key of an operator to its format.
        packed_ops: Operators to choose them for.

    Returns:
        The same formats but for those operators.
    """
    packed = OpFormat(activation_bits=_BYTE_BITS, weight_bits=_PACKED_BITS)
    found = {
        op_key(op, graph): packed
        for op in graph.ops
        if op.name in packed_ops
        and formats.get(op_key(op, graph)) == INT8_FORMAT
        and _fits_packed(op, graph)
    }
    return {**formats, **found}


def _fits_packed(op: OpInfo, graph: Subgraph) -> bool:
    if op.inputs[_WEIGHT_INPUT] < 0:
        return False
    kernel = stored_values(graph.tensors[op.inputs[_WEIGHT_INPUT]])
    bits = None if kernel is None else grid_bits(kernel)
    return bits is not None and bits <= _PACKED_BITS


def make_quantizer(file: FlatFile, formats: Mapping[str, OpFormat], border: Border) -> Quantizer:
    """Makes the quantizer of a file.

    Args:
        file: A float32 file.
        formats: Key of an operator to its format; operators left out stay in float32.
        border: Formats of the inputs and outputs of the file.

    Returns:
        The quantizer, ready for `quantize`.
    """
    names: dict[OpFormat, list[str]] = {}
    for graph in file.subgraphs:
        for op in graph.ops:
            chosen = formats.get(op_key(op, graph))
            if chosen is not None:
                names.setdefault(chosen, []).append(_scope(op.outputs, graph))
    quantizer = Quantizer(file.data)
    for chosen, scopes in names.items():
        # One rule a format: with one an operator, matching takes minutes in a large file.
        _add_rule(quantizer, f"^(?:{'|'.join(scopes)})$", chosen)
    _set_border(quantizer, file.main, border)
    return quantizer


def _add_rule(quantizer: Quantizer, scope: str, chosen: OpFormat) -> None:
    if chosen.is_integer:
        quantizer.add_static_config(scope, _ALL, chosen.activation_bits, chosen.weight_bits)
    elif chosen.weight_bits < _FLOAT_BITS:
        half = chosen.weight_bits == _HALF_BITS
        algorithm = AlgorithmName.FLOAT_CASTING if half else AlgorithmName.MIN_MAX_UNIFORM_QUANT
        quantizer.add_weight_only_config(scope, _ALL, chosen.weight_bits, algorithm_key=algorithm)


def _set_border(quantizer: Quantizer, graph: Subgraph, border: Border) -> None:
    """Adds rules for the border; the rule of the last operator would else be the output's too."""
    sides = (
        (graph.inputs, TFLOperationName.INPUT, border.inputs),
        (graph.outputs, TFLOperationName.OUTPUT, border.outputs),
    )
    for indices, side, chosen in sides:
        scope = f"^{_scope(indices, graph)}$"
        if chosen is None:
            quantizer.update_quantization_recipe(
                scope, side, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        else:
            quantizer.add_static_config(scope, side, chosen.activation_bits, chosen.weight_bits)


def _scope(indices: Sequence[int], graph: Subgraph) -> str:
    names = "".join(f"{graph.tensors[index].name};" for index in indices if index >= 0)
    return re.escape(names)
