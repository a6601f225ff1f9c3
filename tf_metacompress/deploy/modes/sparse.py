"""float32 with kernels of many zeros in the sparse encoding, which XNNPACK on ARM computes without.

Per row of a kernel only the non-zero values and their columns are stored; an operator DENSIFY in
front of the convolution tells XNNPACK to look for zeros. Its fast path (Elsen et al., "Fast Sparse
ConvNets", arXiv:1911.09723) is for float 1×1 convolutions with more than two thirds of zeros.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.modes.inner_buffers import pack
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.operator_codes import builtin_of, operator_code
from tf_metacompress.errors import UnsupportedModelError

LEAST_ZEROS = 2.0 / 3.0
"""Share of zeros above which XNNPACK's sparse kernels are used."""

_WEIGHT_INPUT = 1
_KERNEL_OPS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
_INDEX_VECTORS = (
    (np.uint8, schema.Uint8VectorT, schema.SparseIndexVector.Uint8Vector),
    (np.uint16, schema.Uint16VectorT, schema.SparseIndexVector.Uint16Vector),
    (np.int32, schema.Int32VectorT, schema.SparseIndexVector.Int32Vector),
)


def encode_sparse(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Stores the kernels of convolutions and dense layers with many zeros in the sparse encoding.

    Args:
        data: Bytes of a float32 .tflite file.
        samples: Not used.
        options: Not used.

    Returns:
        Bytes of the file; a kernel keeps its name, the one with zeros filled in has "_dense" added.

    Raises:
        UnsupportedModelError: If no kernel has more than two thirds of zeros.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    found = list(_kernels(model))
    if not found:
        raise UnsupportedModelError(
            "No kernel of a convolution or dense layer has more than two thirds of zeros; prune "
            "with `compress` first"
        )
    graph = model.subgraphs[0]
    densify = operator_code(model, schema.BuiltinOperator.DENSIFY)
    added = [_encode(model, kernel, densify) for kernel in found]
    graph.operators = [*added, *graph.operators]
    return pack(model, len(data))


@dataclass(frozen=True, kw_only=True)
class _Kernel:
    """A kernel to encode and the operators that use it."""

    index: int
    values: np.ndarray = field(repr=False)
    users: Sequence[schema.OperatorT] = field(repr=False)


def _kernels(model: schema.ModelT) -> Iterator[_Kernel]:
    graph = model.subgraphs[0]
    users: dict[int, list[tuple[schema.OperatorT, int]]] = {}
    for op in graph.operators:
        for place, index in enumerate(op.inputs):
            users.setdefault(int(index), []).append((op, place))
    for index, uses in users.items():
        values = _float_constant(model, index)
        as_kernel = all(
            place == _WEIGHT_INPUT
            and builtin_of(model.operatorCodes[op.opcodeIndex]) in _KERNEL_OPS
            for op, place in uses
        )
        if as_kernel and values is not None and np.mean(values == 0) > LEAST_ZEROS:
            yield _Kernel(index=index, values=values, users=[op for op, _ in uses])


def _float_constant(model: schema.ModelT, index: int) -> np.ndarray | None:
    tensor = model.subgraphs[0].tensors[index]
    content = model.buffers[tensor.buffer].data if index >= 0 else None
    if content is None or not len(content) or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.asarray(content, np.uint8).view(np.float32).reshape(tensor.shape)


def _encode(model: schema.ModelT, kernel: _Kernel, densify: int) -> schema.OperatorT:
    """Encodes a kernel, lets its users read a dense twin, and gives the operator that fills it."""
    tensors = model.subgraphs[0].tensors
    encoded, dense = tensors[kernel.index], schema.TensorT()
    dense.name = bytes(encoded.name) + b"_dense"
    dense.shape, dense.type, dense.hasRank = encoded.shape, encoded.type, True
    tensors.append(dense)
    listed = schema.BufferT()
    listed.data = kernel.values[kernel.values != 0].view(np.uint8)
    uses = sum(
        tensor.buffer == encoded.buffer for part in model.subgraphs for tensor in part.tensors
    )
    if uses > 1:
        model.buffers.append(model.buffers[encoded.buffer])
        encoded.buffer = len(model.buffers) - 1
    model.buffers[encoded.buffer] = listed
    encoded.sparsity = _sparsity(kernel.values)
    for op in kernel.users:
        op.inputs = [len(tensors) - 1 if i == kernel.index else int(i) for i in op.inputs]
    fill = schema.OperatorT()
    fill.opcodeIndex, fill.inputs, fill.outputs = densify, [kernel.index], [len(tensors) - 1]
    return fill


def _sparsity(values: np.ndarray) -> schema.SparsityParametersT:
    """Describes rows of which only the non-zero columns are listed; all other axes are dense."""
    rows = values.reshape(-1, values.shape[-1]) != 0
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    ends = np.concatenate([[0], np.cumsum(rows.sum(axis=1))])
    last.arraySegments, last.arraySegmentsType = _index_vector(ends)
    last.arrayIndices, last.arrayIndicesType = _index_vector(np.nonzero(rows)[1])
    found = schema.SparsityParametersT()
    found.traversalOrder = np.arange(values.ndim, dtype=np.int32)
    found.dimMetadata = [*map(_dense_axis, values.shape[:-1]), last]
    return found


def _dense_axis(extent: int) -> schema.DimensionMetadataT:
    axis = schema.DimensionMetadataT()
    axis.format, axis.denseSize = schema.DimensionType.DENSE, int(extent)
    return axis


def _index_vector(values: np.ndarray) -> tuple[object, int]:
    """Stores indices in the fewest bytes that the format has for them."""
    largest = int(values.max(initial=0))
    for dtype, vector, kind in _INDEX_VECTORS:
        if largest <= np.iinfo(dtype).max:
            chosen = vector()
            chosen.values = values.astype(dtype)
            return chosen, kind
    raise UnsupportedModelError("A kernel has too many values for the sparse encoding")


SPARSE = register_mode(
    # As for float32: only the order of summation differs.
    Mode(name="sparse", quantize=encode_sparse, tolerance=1e-4)
)
