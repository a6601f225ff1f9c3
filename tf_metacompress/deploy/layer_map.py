"""Which operator and which weight tensor of the file each Keras kernel became.

The converter names a tensor after whatever it was fused with, so kernels are recognised by their
values: each output channel of the constant points in the same direction as that of the kernel.
Its length may differ, because BatchNormalization scales channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.deploy.constants import is_weight, real_values
from tf_metacompress.deploy.flatfile import FlatFile, Subgraph

_CHANNEL_AXES = {
    "DEPTHWISE_CONV_2D": -1,
    "BATCH_MATMUL": -1,
    "CONV_3D": -1,
    "GATHER": -1,
    "CONV_3D_TRANSPOSE": -2,
}
"""Axis of the output channels; 0 for all other operators."""
_SAME_DIRECTION = 1.0 - 1e-5
_SAME_VALUES = 1e-3


@dataclass(frozen=True, kw_only=True)
class LayerTensor:
    """What became of one kernel.

    Attributes:
        layer: Path of the Keras layer.
        kernel: Position among the layer's kernels.
        op: Operator that uses it, such as "CONV_2D".
        op_index: Position of that operator in its subgraph of the float32 file; those of a loop,
            as in an LSTM, have a subgraph of their own.
        tensor: Name of the weight tensor in the file.
        by_value: Whether its values identify it; otherwise only shape and order do.
    """

    layer: str
    kernel: int
    op: str
    op_index: int
    tensor: str
    by_value: bool


@dataclass(frozen=True, kw_only=True)
class _Constant:
    op: str
    op_index: int
    tensor: str
    rows: np.ndarray = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class _Kernel:
    layer: str
    position: int
    forms: tuple[np.ndarray, ...] = field(repr=False)


def channel_axis(op: str) -> int:
    """Gives the axis of the output channels in the weights of an operator."""
    return _CHANNEL_AXES.get(op, 0)


def map_layers(
    file: FlatFile, kernels: Mapping[str, Sequence[np.ndarray]]
) -> tuple[LayerTensor, ...]:
    """Finds the weight tensor of each kernel in a float32 file.

    Kernels that no tensor resembles are left out. Two layers with equal weights may share one
    tensor, as the converter stores equal constants once.

    Args:
        file: The float32 file.
        kernels: Path of each layer to its kernels, best folded as `anatomy.kernel_arrays` gives
            them, in execution order.

    Returns:
        One entry a kernel found, in the order of `kernels`.
    """
    constants = tuple(found for graph in file.subgraphs for found in _weight_constants(graph))
    wanted = [
        _Kernel(layer=layer, position=position, forms=tuple(_forms(kernel)))
        for layer, arrays in kernels.items()
        for position, kernel in enumerate(arrays)
    ]
    found: dict[int, tuple[_Constant, bool]] = {}
    taken: set[str] = set()
    for by_value in (True, False):
        for index, kernel in enumerate(wanted):
            if index in found:
                continue
            constant = _best(kernel, constants, taken, by_value)
            if constant is not None:
                found[index] = (constant, by_value)
                taken.add(constant.tensor)
    return tuple(_entry(kernel, *found[i]) for i, kernel in enumerate(wanted) if i in found)


def _entry(kernel: _Kernel, constant: _Constant, by_value: bool) -> LayerTensor:
    return LayerTensor(
        layer=kernel.layer,
        kernel=kernel.position,
        op=constant.op,
        op_index=constant.op_index,
        tensor=constant.tensor,
        by_value=by_value,
    )


def _weight_constants(graph: Subgraph) -> Iterator[_Constant]:
    seen = set()
    for op in graph.ops:
        for index in op.inputs:
            tensor = graph.tensors[index]
            absent = index < 0 or index in seen
            if absent or len(tensor.shape) < 2 or not is_weight(tensor):
                continue
            seen.add(index)
            values = real_values(tensor)
            if values is not None:
                axis = channel_axis(op.name)
                rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
                yield _Constant(op=op.name, op_index=op.index, tensor=tensor.name, rows=rows)


def _forms(kernel: np.ndarray) -> Iterator[np.ndarray]:
    """Lays a kernel out as output channels × the rest, in each way that a layer may store it."""
    kernel = np.asarray(kernel, np.float64)
    yield np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)
    if kernel.ndim >= 3:
        yield kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1]).T
        yield np.moveaxis(kernel, -2, 0).reshape(kernel.shape[-2], -1)


def _best(
    kernel: _Kernel, constants: Sequence[_Constant], taken: set[str], by_value: bool
) -> _Constant | None:
    """Picks the most alike constant; untaken before taken, then nearest, then first in the file."""
    ranked = []
    for order, constant in enumerate(constants):
        shared = constant.tensor in taken
        errors = [
            _difference(form, constant.rows)
            for form in kernel.forms
            if form.shape == constant.rows.shape
            and (_alike(form, constant.rows) if by_value else not shared)
        ]
        if errors:
            ranked.append((shared, round(min(errors), 4), order))
    return constants[min(ranked)[2]] if ranked else None


def _difference(form: np.ndarray, rows: np.ndarray) -> float:
    length = np.linalg.norm(rows)
    return float(np.linalg.norm(form - rows) / length) if length else 0.0


def _alike(form: np.ndarray, rows: np.ndarray) -> bool:
    """Whether every channel points the same way, up to its length and sign."""
    if form.shape[1] == 1:
        return bool(form.any()) and _difference(form, rows) < _SAME_VALUES
    lengths = np.linalg.norm(form, axis=1) * np.linalg.norm(rows, axis=1)
    telling = lengths > 0
    cosines = np.abs(np.sum(form * rows, axis=1)[telling] / lengths[telling])
    return bool(telling.any()) and bool((cosines > _SAME_DIRECTION).all())
