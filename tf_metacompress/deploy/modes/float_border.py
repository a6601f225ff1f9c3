"""Lets an integer file take and give real numbers: conversions at its border, nothing else changed.

The quantizer can leave the border in float32 itself, but then an output that another operator reads
too reaches that operator in float32, and the runtime refuses the file.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.modes.inner_buffers import pack
from tf_metacompress.deploy.modes.operator_codes import operator_code

_QUANTIZE = schema.BuiltinOperator.QUANTIZE
_DEQUANTIZE = schema.BuiltinOperator.DEQUANTIZE
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.INT16)


def add_float_border(data: bytes) -> bytes:
    """Puts QUANTIZE before each integer input and DEQUANTIZE behind each integer output.

    An output that was only just rounded from another tensor is taken from that tensor instead.

    Args:
        data: A .tflite file; inputs and outputs of types other than int8 and int16 stay as they
            are.

    Returns:
        The file with float32 in the place of integers at its border.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    _replace_outputs(model, _before_rounding(model))
    inputs = _float_twins(graph, graph.inputs)
    outputs = _float_twins(graph, graph.outputs)
    before = [_conversion(model, _QUANTIZE, real, stored) for stored, real in inputs.items()]
    behind = [_conversion(model, _DEQUANTIZE, stored, real) for stored, real in outputs.items()]
    graph.operators = [*before, *graph.operators, *behind]
    graph.inputs = [inputs.get(int(index), int(index)) for index in graph.inputs]
    _replace_outputs(model, outputs)
    for signature in model.signatureDefs or ():
        _redirect(signature.inputs, inputs)
    return pack(model, len(data))


def _before_rounding(model: schema.ModelT) -> dict[int, int]:
    """Maps each output that a QUANTIZE makes to what goes into it, and drops idle QUANTIZEs."""
    graph = model.subgraphs[0]
    quantize = operator_code(model, _QUANTIZE)
    rounded = {
        int(op.outputs[0]): int(op.inputs[0])
        for op in graph.operators
        if op.opcodeIndex == quantize and int(op.outputs[0]) in set(map(int, graph.outputs))
    }
    read = {int(index) for op in graph.operators for index in op.inputs}
    graph.operators = [
        op
        for op in graph.operators
        if op.opcodeIndex != quantize
        or int(op.outputs[0]) not in rounded
        or int(op.outputs[0]) in read
    ]
    return rounded


def _replace_outputs(model: schema.ModelT, twins: Mapping[int, int]) -> None:
    graph = model.subgraphs[0]
    graph.outputs = [twins.get(int(index), int(index)) for index in graph.outputs]
    for signature in model.signatureDefs or ():
        _redirect(signature.outputs, twins)


def _float_twins(graph: schema.SubGraphT, indices: Sequence[int]) -> dict[int, int]:
    """Adds a float32 tensor for each integer tensor; maps its index to the new one's."""
    twins = {}
    for index in dict.fromkeys(int(index) for index in indices):
        tensor = graph.tensors[index]
        if tensor.type not in _INTEGERS:
            continue
        twin = schema.TensorT()
        twin.name = bytes(tensor.name) + b"_float32"
        twin.shape = np.array(tensor.shape, np.int32)
        if tensor.shapeSignature is not None:
            twin.shapeSignature = np.array(tensor.shapeSignature, np.int32)
        twin.type = schema.TensorType.FLOAT32
        twin.hasRank = True
        graph.tensors.append(twin)
        twins[index] = len(graph.tensors) - 1
    return twins


def _conversion(model: schema.ModelT, builtin: int, source: int, sink: int) -> schema.OperatorT:
    op = schema.OperatorT()
    op.opcodeIndex = operator_code(model, builtin)
    op.inputs, op.outputs = [source], [sink]
    return op


def _redirect(maps: Sequence[schema.TensorMapT], twins: Mapping[int, int]) -> None:
    for item in maps or ():
        item.tensorIndex = twins.get(item.tensorIndex, item.tensorIndex)
