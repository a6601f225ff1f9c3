"""Reads a .tflite flatbuffer into frozen data, checking it on the way.

The runtime verifies offsets itself but trusts what they lead to, and some damaged files that pass
its verifier end the process (a model without subgraphs does). So a file is read here first, by the
schema that ships with `ai_edge_litert`, and refused with an error when it makes no sense. An
operator newer than that schema is no damage: it is called by its number.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph, TensorInfo, type_bits
from tf_metacompress.errors import CorruptFileError

IDENTIFIER = b"TFL3"
SMALLEST_FILE = 16
LARGEST_FILE = 2**32 - 1
_SUPPORTED_VERSION = 3
# Names, constants and scales may be shared, but not so often that reading them takes for ever.
_MOST_SHARED = 8
_READ_ERRORS = (
    struct.error,
    IndexError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
)


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


_TYPE_NAMES = _names(schema.TensorType)
_OP_NAMES = _names(schema.BuiltinOperator)


def read_flatfile(data: bytes, source: str = "model") -> FlatFile:
    """Reads and checks the bytes of a .tflite file.

    Args:
        data: The whole file.
        source: What to call it in an error, usually its path.

    Returns:
        Its contents as frozen data.

    Raises:
        CorruptFileError: If the bytes are not a complete, consistent .tflite file.
    """
    check_mark(data, source, len(data))
    with reading(data, source):
        return _Reader(data).file()


@contextmanager
def reading(data: bytes, source: str = "model") -> Iterator[None]:
    """Turns what goes wrong while a damaged file is read into an error of ours.

    Args:
        data: The whole file.
        source: What to call it.

    Raises:
        CorruptFileError: If an offset leads nowhere or the file contradicts itself.
    """
    try:
        yield
    except _READ_ERRORS as error:
        complaint = error if isinstance(error, _Inconsistent) else "its offsets lead nowhere"
        raise CorruptFileError(
            f"The .tflite file is damaged: {complaint}. Received: {source} of {len(data)} bytes. "
            "Copy or export it again."
        ) from error


def has_mark(start: bytes) -> bool:
    """Whether a file that begins like this says of itself that it is a .tflite file."""
    return len(start) >= SMALLEST_FILE and start[4:8] == IDENTIFIER


def check_mark(start: bytes, source: str, size: int) -> None:
    """Checks that a file says of itself that it is a .tflite file.

    Args:
        start: Its first bytes, at least `SMALLEST_FILE` if there are as many.
        source: What to call it in an error.
        size: Bytes it has.

    Raises:
        CorruptFileError: If it does not.
    """
    if not has_mark(start):
        what = "is not a .tflite file (no TFL3 mark)" if start else "is empty"
        raise CorruptFileError(
            f"The file {what}. Received: {source} of {size} bytes. Export the model again."
        )


class _Inconsistent(ValueError):
    """What a file says contradicts itself."""


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise _Inconsistent(complaint)


class _Reader:
    """Walks one file, charging every item, so that overlapping tables cannot take for ever."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = len(data) + 64
        self.shared_left = _MOST_SHARED * len(data)
        self.held: dict[int, np.ndarray] = {}
        self.model = schema.Model.GetRootAs(data, 0)

    def charge(self, count: int) -> int:
        self.left -= count
        _require(count >= 0 and self.left >= 0, "it lists more items than it can hold")
        return count

    def text(self, content: bytes | None) -> str:
        self.share(len(content or b""))
        return (content or b"").decode()

    def share(self, count: int) -> None:
        self.shared_left -= count
        _require(self.shared_left >= 0, "the same bytes stand for too many things")

    def indices(self, vector: np.ndarray | int, limit: int, optional: bool) -> tuple[int, ...]:
        if isinstance(vector, int):
            return ()
        self.charge(len(vector))
        lowest = -1 if optional else 0
        inside = all(lowest <= item < limit for item in vector)
        _require(inside, "an operator refers to a tensor that does not exist")
        return tuple(int(item) for item in vector)

    def file(self) -> FlatFile:
        model = self.model
        _require(model.Version() == _SUPPORTED_VERSION, f"schema version {model.Version()}")
        entries = range(self.charge(model.MetadataLength()))
        metadata_names = tuple(self.text(model.Metadata(index).Name()) for index in entries)
        codes = range(self.charge(model.OperatorCodesLength()))
        self.codes = [self.code(model.OperatorCodes(index)) for index in codes]
        count = self.charge(model.SubgraphsLength())
        _require(count > 0, "it has no subgraph")
        subgraphs = tuple(self.subgraph(model.Subgraphs(index)) for index in range(count))
        inputs, outputs = self.signature(subgraphs[0])
        return FlatFile(
            data=self.data,
            subgraphs=subgraphs,
            input_names=inputs,
            output_names=outputs,
            description=self.text(model.Description()),
            metadata_names=metadata_names,
        )

    def subgraph(self, graph: schema.SubGraph) -> Subgraph:
        count = self.charge(graph.TensorsLength())
        tensors = tuple(self.tensor(graph.Tensors(index), index) for index in range(count))
        ops = range(self.charge(graph.OperatorsLength()))
        return Subgraph(
            tensors=tensors,
            ops=tuple(self.op(graph.Operators(index), index, count) for index in ops),
            inputs=self.indices(graph.InputsAsNumpy(), count, optional=False),
            outputs=self.indices(graph.OutputsAsNumpy(), count, optional=False),
        )

    def code(self, code: schema.OperatorCode) -> tuple[str, int]:
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        _require(number >= 0, f"operator code {number}")
        name = _OP_NAMES.get(number, f"BUILTIN_{number}")
        if name == "CUSTOM":
            name = self.text(code.CustomCode()) or name
        return name, code.Version()

    def op(self, op: schema.Operator, index: int, num_tensors: int) -> OpInfo:
        _require(0 <= op.OpcodeIndex() < len(self.codes), "an operator has no operator code")
        name, version = self.codes[op.OpcodeIndex()]
        return OpInfo(
            index=index,
            name=name,
            inputs=self.indices(op.InputsAsNumpy(), num_tensors, optional=True),
            outputs=self.indices(op.OutputsAsNumpy(), num_tensors, optional=True),
            version=version,
        )

    def tensor(self, tensor: schema.Tensor, index: int) -> TensorInfo:
        shape = () if tensor.ShapeIsNone() else tuple(int(n) for n in tensor.ShapeAsNumpy())
        self.charge(len(shape))
        _require(all(extent >= 0 for extent in shape), "a tensor has a negative extent")
        kind = _TYPE_NAMES.get(tensor.Type())
        _require(kind is not None, f"tensor {index} has the unknown type {tensor.Type()}")
        data = self.buffer(tensor.Buffer())
        sparse = tensor.Sparsity() is not None
        bits = type_bits(kind.lower())
        if len(data) and bits and not sparse:
            needed = -(-math.prod(shape) * bits // 8)
            _require(len(data) >= needed, f"tensor {index} has {len(data)} of {needed} bytes")
        scales, zero_points, axis = self.quantization(tensor.Quantization(), shape)
        return TensorInfo(
            index=index,
            name=self.text(tensor.Name()),
            type=kind.lower(),
            shape=shape,
            buffer=tensor.Buffer(),
            data=data,
            scales=scales,
            zero_points=zero_points,
            axis=axis,
            sparse=sparse,
            open_axes=self.open_axes(tensor),
        )

    def open_axes(self, tensor: schema.Tensor) -> tuple[int, ...]:
        if tensor.ShapeSignatureIsNone():
            return ()
        extents = tensor.ShapeSignatureAsNumpy()
        self.charge(len(extents))
        return tuple(axis for axis, extent in enumerate(extents) if extent < 0)

    def buffer(self, index: int) -> np.ndarray:
        _require(0 <= index < self.model.BuffersLength(), "a tensor refers to a missing buffer")
        if index not in self.held:
            self.held[index] = self.content(self.model.Buffers(index))
            self.share(len(self.held[index]))
        return self.held[index]

    def content(self, buffer: schema.Buffer) -> np.ndarray:
        if buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            _require(end <= len(self.data), "a buffer ends behind the end of the file")
            return np.frombuffer(self.data, np.uint8, buffer.Size(), buffer.Offset())
        return np.zeros(0, np.uint8) if buffer.DataIsNone() else buffer.DataAsNumpy()

    def quantization(
        self, params: schema.QuantizationParameters | None, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, int]:
        if params is None or params.ScaleIsNone() or not params.ScaleLength():
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        scales = np.array(params.ScaleAsNumpy(), np.float32)
        zeros = params.ZeroPointAsNumpy()
        zeros = np.zeros(len(scales), np.int64) if isinstance(zeros, int) else np.array(zeros)
        self.share(len(scales) + len(zeros))
        axis = params.QuantizedDimension()
        finite = bool(np.isfinite(scales).all()) and bool((scales >= 0).all())
        _require(finite, "a quantisation scale is negative or not finite")
        _require(len(zeros) == len(scales), "scales and zero points differ in number")
        if len(scales) > 1 and params.DetailsType() == 0:
            fits = 0 <= axis < len(shape) and shape[axis] == len(scales)
            _require(fits, "the scales do not fit the channels")
        return scales, zeros, axis

    def signature(self, graph: Subgraph) -> tuple[dict[str, int], dict[str, int]]:
        inputs = {graph.tensors[index].name: index for index in graph.inputs}
        outputs = {graph.tensors[index].name: index for index in graph.outputs}
        count = self.charge(self.model.SignatureDefsLength())
        stated = [self.maps(self.model.SignatureDefs(index)) for index in range(count)]
        if not count or self.model.SignatureDefs(0).SubgraphIndex() != 0:
            return inputs, outputs
        for found in stated[0]:
            inside = all(0 <= index < len(graph.tensors) for index in found.values())
            _require(inside, "the signature refers to a tensor that does not exist")
        return stated[0]

    def maps(self, signature: schema.SignatureDef) -> tuple[dict[str, int], dict[str, int]]:
        self.text(signature.SignatureKey())
        inputs = range(self.charge(signature.InputsLength()))
        outputs = range(self.charge(signature.OutputsLength()))
        return (
            self.named(signature.Inputs(index) for index in inputs),
            self.named(signature.Outputs(index) for index in outputs),
        )

    def named(self, maps: Iterable[schema.TensorMap]) -> dict[str, int]:
        return {self.text(item.Name()): item.TensorIndex() for item in maps}
