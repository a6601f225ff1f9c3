"""Classifiers of a dense layer, float or int8, made without TensorFlow."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

NUM_INPUTS, NUM_CLASSES = 4, 3
INPUT_SCALE, INPUT_ZERO = 0.5, -3
OUTPUT_SCALE, OUTPUT_ZERO = 1.25, 7
WEIGHT_SCALE = 0.1
_BUILTIN = schema.BuiltinOperator


def weights():
    return np.arange(-6, 6, dtype=np.int8).reshape(NUM_CLASSES, NUM_INPUTS) * np.int8(9)


class File:
    """A model object that grows tensor by tensor."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.operatorCodes, self.model.metadata, self.model.signatureDefs = [], [], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], "main"
        self.model.subgraphs = [self.graph]

    def tensor(self, name, shape, dtype, scale=None, zero=0, data=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = getattr(schema.TensorType, dtype.upper())
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name, inputs, outputs, options=None, custom="", version=4):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(_BUILTIN, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        code.customCode = custom or None
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes), inputs, outputs
        if options is not None:
            op.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(op)

    def sign(self, key, inputs, outputs):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, 0
        signature.inputs, signature.outputs = _maps(inputs), _maps(outputs)
        self.model.signatureDefs.append(signature)

    def packed(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _maps(names):
    maps = []
    for name, index in names.items():
        item = schema.TensorMapT()
        item.name, item.tensorIndex = name, index
        maps.append(item)
    return maps


def classifier(dtype="int8", *, softmax=False, key="serving_default", shape=(1, NUM_INPUTS)):
    """The object of a file: a dense layer, its parts by the names "pixels" and "scores"."""
    file, quantised = File(), dtype == "int8"
    values = weights() if quantised else weights().astype(np.float32) * WEIGHT_SCALE
    x = file.tensor("x", shape, dtype, INPUT_SCALE if quantised else None, INPUT_ZERO)
    w = file.tensor("w", values.shape, dtype, WEIGHT_SCALE if quantised else None, 0, values)
    out = (1, NUM_CLASSES)
    y = file.tensor("y", out, dtype, OUTPUT_SCALE if quantised else None, OUTPUT_ZERO)
    file.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    if softmax:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        z = file.tensor("z", out, dtype, 1 / 256 if quantised else None, -128)
        file.op("SOFTMAX", [y], [z], options)
        y = z
    file.graph.inputs, file.graph.outputs = [x], [y]
    if key is not None:
        file.sign(key, {"pixels": x}, {"scores": y})
    return file


def with_appended_constants(data):
    """The file with its constants behind the flatbuffer, as large files have them."""
    model = schema.ModelT.InitFromPackedBuf(data)
    held = [buffer for buffer in model.buffers if buffer.data is not None]
    contents = [bytes(np.asarray(buffer.data, np.uint8)) for buffer in held]
    for buffer in held:
        buffer.data, buffer.offset, buffer.size = None, 2, 1
    length = -(-len(_pack(model)) // 16) * 16
    tail = b""
    for buffer, content in zip(held, contents, strict=True):
        buffer.offset, buffer.size = length + len(tail), len(content)
        tail += content + bytes(-len(content) % 16)
    return _pack(model).ljust(length, b"\0") + tail


def _pack(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
