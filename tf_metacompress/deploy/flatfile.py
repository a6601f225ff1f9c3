"""What a .tflite file holds, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "int64": 64, "uint64": 64,
    "int32": 32, "uint32": 32, "int16": 16, "uint16": 16, "int8": 8, "uint8": 8, "bool": 8,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "int4": 4, "uint4": 4, "int2": 2,
    "complex64": 64, "complex128": 128,
}  # fmt: skip


def type_bits(kind: str) -> int | None:
    """Gives the bits of a value of a stored type, None for one without a size (strings)."""
    return _BITS.get(kind)


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor of a file.

    Attributes:
        index: Position in its subgraph.
        name: Name in the file.
        type: Stored type in lower case, such as "int8", "int4", "float32".
        shape: Extents.
        buffer: Index of the buffer that holds its constant.
        data: Raw constant bytes, shape (number of bytes,), uint8; empty for an activation.
        scales: Quantisation scales, one or one a channel; empty when not quantised.
        zero_points: Zero points, as many as scales.
        axis: Axis of the channels that the scales belong to.
        sparse: Whether the constant is stored in the sparse encoding.
        open_axes: Axes whose extent is only known when the file runs; `shape` has a stand-in.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    buffer: int
    data: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    zero_points: np.ndarray = field(repr=False)
    axis: int
    sparse: bool
    open_axes: tuple[int, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the tensor's values."""
        return len(self.data) > 0


@dataclass(frozen=True, kw_only=True)
class OpInfo:
    """One operator of a file: its name ("CONV_2D") and its tensors by index (−1: left out)."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class Subgraph:
    """Tensors and operators of one subgraph, and the indices of what goes in and comes out."""

    tensors: tuple[TensorInfo, ...]
    ops: tuple[OpInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FlatFile:
    """A checked .tflite file.

    Attributes:
        data: The whole file.
        subgraphs: Its subgraphs; the first is the one that runs.
        input_names: Name to tensor index, from the signature, else from the tensors.
        output_names: Name to tensor index, likewise.
        description: What its maker wrote into it.
        metadata_names: Names of its metadata entries.
    """

    data: bytes = field(repr=False)
    subgraphs: tuple[Subgraph, ...]
    input_names: Mapping[str, int]
    output_names: Mapping[str, int]
    description: str = ""
    metadata_names: tuple[str, ...] = ()

    @property
    def main(self) -> Subgraph:
        """The subgraph that runs."""
        return self.subgraphs[0]
