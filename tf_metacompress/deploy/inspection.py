"""What a file really stores: layer by layer, and every tensor that is not int8."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_metacompress.deploy.constants import real_values
from tf_metacompress.deploy.flatfile import FlatFile, Subgraph, TensorInfo
from tf_metacompress.deploy.int4_grid import INT4_LEVELS, is_on_int4_grid
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import nonzero_count

_INT8_LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class LayerStorage(Record):
    """How one kernel is stored.

    Attributes:
        layer: Path of the Keras layer.
        kernel: Position among the layer's kernels.
        op: Operator that uses it, such as "CONV_2D".
        tensor: Name of its tensor in the file.
        stored: Stored type, such as "int4", "int8", "float16".
        shape: Shape in the file.
        constant_bytes: Bytes it takes.
        nonzero_share: Share of its weights that are not zero, in [0, 1].
        levels: Values that its grid has in each channel: 15 where 4 bits hold it without loss, in
            whatever type it is stored, 255 for other int8 weights; None for floats.
        by_value: Whether it was recognised by its values; otherwise only by shape and order.
    """

    layer: str
    kernel: int
    op: str
    tensor: str
    stored: str
    shape: tuple[int, ...]
    constant_bytes: int
    nonzero_share: float
    levels: int | None
    by_value: bool

    @property
    def in_bytes(self) -> bool:
        """Whether 4 bits would hold it without loss, but it is stored in int8."""
        return self.stored == "int8" and self.levels != _INT8_LEVELS


@dataclass(frozen=True, kw_only=True)
class TensorNote(Record):
    """A tensor that is not int8: its name, its type, and what it is."""

    tensor: str
    type: str
    what: str


def layer_storage(file: FlatFile, mapped: Sequence[LayerTensor]) -> tuple[LayerStorage, ...]:
    """Looks up how each mapped kernel is stored in the exported file.

    Args:
        file: The exported file.
        mapped: Kernel to tensor name, found in the float32 file it was made from.

    Returns:
        One entry a kernel whose tensor is still there.
    """
    tensors = {tensor.name: tensor for tensor in reversed(file.main.tensors) if tensor.is_constant}
    return tuple(
        _storage(entry, tensors[entry.tensor]) for entry in mapped if entry.tensor in tensors
    )


def _storage(entry: LayerTensor, tensor: TensorInfo) -> LayerStorage:
    nonzero, total = nonzero_count(tensor)
    return LayerStorage(
        layer=entry.layer,
        kernel=entry.kernel,
        op=entry.op,
        tensor=entry.tensor,
        stored=tensor.type,
        shape=tensor.shape,
        constant_bytes=len(tensor.data),
        nonzero_share=nonzero / total if total else 0.0,
        levels=_levels(tensor),
        by_value=entry.by_value,
    )


def _levels(tensor: TensorInfo) -> int | None:
    values = real_values(tensor) if tensor.type == "int8" else None
    if tensor.type == "int4" or (values is not None and is_on_int4_grid(values, tensor.axis)):
        return 2 * INT4_LEVELS + 1
    return None if values is None else _INT8_LEVELS


def tensors_not_int8(file: FlatFile) -> tuple[TensorNote, ...]:
    """Lists every tensor that is not int8, with what it is.

    Args:
        file: An exported file.

    Returns:
        Notes in the order of the file.
    """
    graph = file.main
    return tuple(
        TensorNote(tensor=tensor.name, type=tensor.type, what=_role(tensor, graph))
        for tensor in graph.tensors
        if tensor.type != "int8"
    )


def float_ops(file: FlatFile) -> tuple[str, ...]:
    """Names the operators that compute on real numbers, each once, without conversions."""
    graph = file.main
    names = {}
    for op in graph.ops:
        used = [graph.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]
        if op.name not in ("QUANTIZE", "DEQUANTIZE") and any(t.type == "float32" for t in used):
            names[op.name] = None
    return tuple(names)


def _role(tensor: TensorInfo, graph: Subgraph) -> str:
    if tensor.index in graph.inputs:
        return "input of the file"
    if tensor.index in graph.outputs:
        return "output of the file"
    users = [op.name for op in graph.ops if tensor.index in op.inputs]
    user = users[0] if users else "nothing"
    if tensor.is_constant and tensor.type == "int4":
        return f"4-bit weights of {user}"
    if tensor.is_constant and tensor.scales.size:
        return f"bias of {user}"
    if tensor.is_constant:
        return f"constant of {user}"
    makers = [op.name for op in graph.ops if tensor.index in op.outputs]
    return f"result of {makers[0]}" if makers else "unused"
