"""A .tflite file of one operator, made without TensorFlow."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def _tensor(name):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, [1, 8], 0
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _signature(key):
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs, signature.outputs = [], []
    for index, side in enumerate((signature.inputs, signature.outputs)):
        part = schema.TensorMapT()
        part.name, part.tensorIndex = "xy"[index], index
        side.append(part)
    return signature


def tiny_file(*signatures, op_version=1):
    """The bytes of a file that computes relu on eight numbers, by any number of names."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = op_version
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0], [1]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [_tensor("x"), _tensor("y")], [op]
    graph.inputs, graph.outputs, graph.name = [0], [1], "main"
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    model.signatureDefs = [_signature(key) for key in signatures]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
