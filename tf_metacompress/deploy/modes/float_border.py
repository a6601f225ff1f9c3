"""Lets an int8 file take and give real numbers: conversions at its border, nothing else changed.

The quantizer can leave the border in float32 itself, but then an output that another operator reads
too reaches that operator in float32, and the runtime refuses the file.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.modes.inner_buffers import pack

_QUANTIZE = schema.BuiltinOperator.QUANTIZE
_DEQUANTIZE = schema.BuiltinOperator.DEQUANTIZE
_LARGEST_OLD_CODE = 127


def add_float_border(data: bytes) -> bytes:
    """Puts QUANTIZE before each int8 input and DEQUANTIZE behind each int8 output.

    Args:
        data: A .tflite file; inputs and outputs of other types stay as they are.

    Returns:
        The file with float32 in the place of int8 at its border.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    inputs = _float_twins(graph, graph.inputs)
    outputs = _float_twins(graph, graph.outputs)
    before = [_conversion(model, _QUANTIZE, real, stored) for stored, real in inputs.items()]
    behind = [_conversion(model, _DEQUANTIZE, stored, real) for stored, real in outputs.items()]
    graph.operators = [*before, *graph.operators, *behind]
    graph.inputs = [inputs.get(int(index), int(index)) for index in graph.inputs]
    graph.outputs = [outputs.get(int(index), int(index)) for index in graph.outputs]
    for signature in model.signatureDefs or ():
        _redirect(signature.inputs, inputs)
        _redirect(signature.outputs, outputs)
    return pack(model, len(data))


def _float_twins(graph: schema.SubGraphT, indices: Sequence[int]) -> dict[int, int]:
    """Adds a float32 tensor for each int8 tensor; maps its index to the new one's."""
    twins = {}
    for index in dict.fromkeys(int(index) for index in indices):
        tensor = graph.tensors[index]
        if tensor.type != schema.TensorType.INT8:
            continue
        twin = schema.TensorT()
        twin.name = bytes(tensor.name) + b"_float32"
        twin.shape = np.array(tensor.shape, np.int32)
        twin.type = schema.TensorType.FLOAT32
        twin.hasRank = True
        graph.tensors.append(twin)
        twins[index] = len(graph.tensors) - 1
    return twins


def _conversion(model: schema.ModelT, builtin: int, source: int, sink: int) -> schema.OperatorT:
    op = schema.OperatorT()
    op.opcodeIndex = _operator_code(model, builtin)
    op.inputs, op.outputs = [source], [sink]
    return op


def _operator_code(model: schema.ModelT, builtin: int) -> int:
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = min(builtin, _LARGEST_OLD_CODE)
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _redirect(maps: Sequence[schema.TensorMapT], twins: Mapping[int, int]) -> None:
    for item in maps or ():
        item.tensorIndex = twins.get(item.tensorIndex, item.tensorIndex)
