"""The four sizes of a .tflite file: what is downloaded, stored, constant and not zero."""

import gzip
import math
from dataclasses import dataclass

import numpy as np

from tf_metacompress.deploy.constants import (
    constants,
    is_weight,
    over_channels,
    sparse_values,
    stored_values,
)
from tf_metacompress.deploy.flatfile import FlatFile, TensorInfo, type_bits
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.records import Record


@dataclass(frozen=True, kw_only=True)
class FileSizes(Record):
    """Sizes of one file.

    Attributes:
        file_bytes: The file, which is what flash holds.
        gzip_bytes: The file after gzip level 9, about what is downloaded.
        constant_bytes: Constants within the file; the rest is structure.
        nonzero_share: Share of weights and biases that are not zero, in [0, 1]; 1 for a file
            without any.
        nonzero_bytes: Bytes that those take in their stored types.
    """

    file_bytes: int
    gzip_bytes: int
    constant_bytes: int
    nonzero_share: float
    nonzero_bytes: int


def nonzero_count(tensor: TensorInfo) -> tuple[int, int]:
    """Counts the values of a constant that stand for something else than zero.

    Args:
        tensor: A constant.

    Returns:
        Non-zero values, and all values; (0, 0) when the constant has no plain array.
    """
    if tensor.sparse:
        listed, total = sparse_values(tensor), math.prod(tensor.shape)
        nonzero = 0 if listed is None else int(np.count_nonzero(listed))
        return (nonzero, total) if 0 < nonzero <= total else (0, 0)
    stored = stored_values(tensor)
    if stored is None:
        return 0, 0
    zero = over_channels(tensor.zero_points, tensor) if tensor.zero_points.size else 0
    return int(np.count_nonzero(stored != zero)), stored.size


def gzip_size(data: bytes) -> int:
    """Gives the size in bytes of `data` after gzip level 9, the same on every day."""
    return len(gzip.compress(data, compresslevel=9, mtime=0))


def measure_sizes(data: bytes | FlatFile) -> FileSizes:
    """Measures a .tflite file.

    Args:
        data: The whole file, or the file already read.

    Returns:
        Its sizes.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file.
    """
    file = data if isinstance(data, FlatFile) else read_flatfile(data)
    held = constants(file)
    weights = [tensor for tensor in held if is_weight(tensor)]
    counts = [nonzero_count(tensor) for tensor in weights]
    total = sum(count for _, count in counts)
    bits = sum(
        count * (type_bits(tensor.type) or 0)
        for tensor, (count, _) in zip(weights, counts, strict=True)
    )
    return FileSizes(
        file_bytes=len(file.data),
        gzip_bytes=gzip_size(file.data),
        constant_bytes=sum(len(tensor.data) for tensor in held),
        nonzero_share=sum(nonzero for nonzero, _ in counts) / total if total else 1.0,
        nonzero_bytes=-(-bits // 8),
    )
