"""Operations that move values about: channels keep their identity, perhaps on another axis."""

from typing import Any

import numpy as np

from tf_metacompress.anatomy.channels.ledger import Flow
from tf_metacompress.anatomy.channels.visit import Visit, rule

_MOST_POSITIONS = 1 << 24


def _same_axis(visit: Visit) -> Flow:
    """Pooling, padding, noise: every channel by itself."""
    flow = visit.flows[0]
    if not flow.followed:
        return Flow(visit.shape)
    shape = visit.shape
    if shape is not None and (len(shape) <= flow.axis or shape[flow.axis] != len(flow.labels)):
        return visit.stop("changes the number of channels")
    return visit.passed(flow)


for _rank in (1, 2, 3):
    rule(f"MaxPooling{_rank}D", f"AveragePooling{_rank}D", f"ZeroPadding{_rank}D")(_same_axis)
    rule(f"Cropping{_rank}D", f"UpSampling{_rank}D", f"SpatialDropout{_rank}D")(_same_axis)
rule("Dropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization", "Resizing")(
    _same_axis
)
rule("MaxPool", "AveragePool", "StopGradient", "Masking")(_same_axis)


def _reduced(visit: Visit, axes: set[int], keepdims: bool) -> Flow:
    flow = visit.flows[0]
    if not flow.followed:
        return Flow(visit.shape)
    if flow.axis in axes:
        return visit.stop("reduces over the channels")
    before = 0 if keepdims else sum(axis < flow.axis for axis in axes)
    return visit.passed(flow, axis=flow.axis - before)


for _rank in (1, 2, 3):

    @rule(f"GlobalAveragePooling{_rank}D", f"GlobalMaxPooling{_rank}D")
    def global_pooling(visit: Visit, rank: int = _rank) -> Flow:
        """Every channel becomes one value."""
        is_first = visit.operation.data_format == "channels_first"
        axes = range(2, rank + 2) if is_first else range(1, rank + 1)
        return _reduced(visit, set(axes), bool(visit.operation.keepdims))


@rule("Mean", "Max", "Min", "Sum")
def reduction(visit: Visit) -> Flow:
    """A plain reduction over some axes."""
    flow, axis = visit.flows[0], visit.operation.axis
    if axis is None or flow.shape is None or len(visit.flows) != 1:
        return visit.stop("reduces over the channels")
    axes = axis if isinstance(axis, (tuple, list)) else [axis]
    return _reduced(visit, {n % len(flow.shape) for n in axes}, bool(visit.operation.keepdims))


@rule("Permute", "Transpose")
def transposition(visit: Visit) -> Flow:
    """Axes in another order."""
    flow, operation = visit.flows[0], visit.operation
    if not flow.followed:
        return Flow(visit.shape)
    order = [0, *operation.dims] if hasattr(operation, "dims") else operation.axes
    if order is None:
        order = list(range(len(flow.shape)))[::-1]
    return visit.passed(flow, axis=list(order).index(flow.axis))


@rule("RepeatVector")
def repetition(visit: Visit) -> Flow:
    """(batch, channels) becomes (batch, times, channels)."""
    flow = visit.flows[0]
    return visit.passed(flow, axis=2) if flow.followed else Flow(visit.shape)


@rule("Flatten", "Reshape", "ExpandDims", "Squeeze")
def reshaping(visit: Visit) -> Flow:
    """The same values in another shape: behind Flatten, a channel lies at many positions."""
    flow = visit.flows[0]
    if not flow.followed:
        return Flow(visit.shape)
    before, after = flow.shape, visit.shape
    if before is None or after is None or None in (*before[1:], *after[1:]):
        return visit.stop("has a shape that is not known")
    if before[0] != after[0] or flow.axis == 0 or np.prod(before[1:]) > _MOST_POSITIONS:
        return visit.stop("moves the batch axis")
    if getattr(visit.operation, "data_format", "channels_last") == "channels_first":
        return visit.stop("puts the channels last before it flattens")
    columns = (flow.labels, flow.zero, flow.dead)
    spread = [_spread(column, flow.axis - 1, before[1:], after[1:]) for column in columns]
    axis = _varying_axis(spread[0])
    rows, zero, dead = (np.moveaxis(s, axis, -1).reshape(-1, after[axis + 1]) for s in spread)
    if len(rows) > 1 and (rows != rows[0]).any():
        # As from Dense(4 * 4 * 8) to (4, 4, 8): a channel is made by units that go together.
        visit.ledger.tie(np.tile(rows[0], len(rows) - 1), rows[1:].ravel())
    _note_extent(visit, axis, rows[0])
    return visit.follow(axis + 1, rows[0], zero.all(0), dead.all(0))


def _spread(values: np.ndarray, axis: int, before: Any, after: Any) -> np.ndarray:
    """One value a channel, laid out as the tensor is and reshaped with it."""
    extents = [len(values) if n == axis else 1 for n in range(len(before))]
    return np.broadcast_to(values.reshape(extents), before).reshape(after)


def _varying_axis(labels: np.ndarray) -> int:
    """The only axis along which labels change; the last when it is not the only one."""
    varying = [n for n in range(labels.ndim) if (labels != np.take(labels, [0], n)).any()]
    return varying[0] if len(varying) == 1 else labels.ndim - 1


def _note_extent(visit: Visit, axis: int, labels: np.ndarray) -> None:
    for key, index in (("target_shape", axis), ("newshape", axis + 1)):
        given = getattr(visit.operation, key, None)
        if given is not None and given[index] not in (-1, None):
            visit.extent(key, labels, index)
