"""The constants of a .tflite file as numbers: integers as stored, and the real values they mean."""

import numpy as np

from tf_metacompress.deploy.flatfile import FlatFile, TensorInfo

_DTYPES = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "int64": np.int64,
    "int32": np.int32,
    "uint32": np.uint32,
    "int16": np.int16,
    "uint16": np.uint16,
    "int8": np.int8,
    "uint8": np.uint8,
    "bool": np.bool_,
}
_PACKED_BITS = {"int4": 4, "int2": 2}


def _unpacked(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Unpacks signed integers of 2 or 4 bits, lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    levels = ((data[:, None] >> shifts) & (2**bits - 1)).ravel()[:count].astype(np.int8)
    return np.where(levels >= 2 ** (bits - 1), levels - 2**bits, levels).astype(np.int8)


def stored_values(tensor: TensorInfo) -> np.ndarray | None:
    """Gives a constant as it is stored.

    Args:
        tensor: A constant.

    Returns:
        Array of the tensor's shape, 4-bit integers as int8; None when the type or the encoding
        (strings, sparse storage) has no plain array.
    """
    count = int(np.prod(tensor.shape))
    if tensor.sparse or not tensor.is_constant:
        return None
    if tensor.type in _PACKED_BITS:
        return _unpacked(tensor.data, _PACKED_BITS[tensor.type], count).reshape(tensor.shape)
    if tensor.type not in _DTYPES:
        return None
    dtype = np.dtype(_DTYPES[tensor.type])
    return np.frombuffer(tensor.data.tobytes(), dtype, count).reshape(tensor.shape)


def sparse_values(tensor: TensorInfo) -> np.ndarray | None:
    """Gives the values that a constant in the sparse encoding lists; None for a packed type."""
    if tensor.type not in _DTYPES:
        return None
    dtype = np.dtype(_DTYPES[tensor.type])
    return np.frombuffer(tensor.data.tobytes(), dtype, len(tensor.data) // dtype.itemsize)


def real_values_at(tensor: TensorInfo, places: np.ndarray) -> np.ndarray | None:
    """Gives the real numbers of a float constant in the sparse encoding, row by row.

    Args:
        tensor: A constant that lists its values in the order of its rows.
        places: Where they belong, a boolean array of the tensor's shape.

    Returns:
        Float64 array of that shape, zeros elsewhere; None if there are more or fewer values.
    """
    listed = sparse_values(tensor)
    if listed is None or listed.size != np.count_nonzero(places):
        return None
    values = np.zeros(tensor.shape)
    values[places] = listed
    return values


def over_channels(values: np.ndarray, tensor: TensorInfo) -> np.ndarray:
    """Shapes one value, or one a channel, so that it broadcasts over the tensor."""
    shape = [1] * len(tensor.shape)
    if values.size > 1:
        shape[tensor.axis] = values.size
    return values.reshape(shape)


def real_values(tensor: TensorInfo) -> np.ndarray | None:
    """Gives the real numbers that a constant stands for: (stored − zero_point) · scale.

    Args:
        tensor: A constant.

    Returns:
        Float64 array of the tensor's shape, or None when it has no plain array.
    """
    stored = stored_values(tensor)
    if stored is None or not tensor.scales.size:
        return None if stored is None else stored.astype(np.float64)
    zero_points = over_channels(tensor.zero_points, tensor)
    scales = over_channels(tensor.scales.astype(np.float64), tensor)
    return (stored.astype(np.float64) - zero_points) * scales


def constants(file: FlatFile) -> tuple[TensorInfo, ...]:
    """Lists the constants of all subgraphs, each buffer once."""
    by_buffer = {
        tensor.buffer: tensor
        for graph in file.subgraphs
        for tensor in reversed(graph.tensors)
        if tensor.is_constant
    }
    return tuple(by_buffer.values())


def is_weight(tensor: TensorInfo) -> bool:
    """Whether a constant carries learned numbers, unlike a shape or an axis."""
    return tensor.is_constant and (tensor.type.startswith("float") or tensor.scales.size > 0)
