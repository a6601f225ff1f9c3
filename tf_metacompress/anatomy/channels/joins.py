"""Tensors that meet: element by element, or one behind the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_metacompress.anatomy.channels.ledger import Flow
from tf_metacompress.anatomy.channels.visit import Visit, rule


def _operands(arguments: Sequence[Any]) -> list[Any]:
    """Flows and constants of a join, whether given one by one or as a list."""
    found: list[Any] = []
    for argument in arguments:
        found += _operands(argument) if isinstance(argument, (list, tuple)) else [argument]
    return found


def _extent_from_right(operand: Any, distance: int) -> int:
    """Extent of an operand on the axis that lies `distance` from the last; 1 where it ends."""
    shape = operand.shape if isinstance(operand, Flow) else np.shape(operand)
    return shape[-1 - distance] if distance < len(shape) else 1


def _join(visit: Visit, combine: Any) -> Flow:
    """Joins operands of which some are followed; `combine` is np.all or np.any over the flags."""
    operands = _operands(visit.arguments)
    flows = [o for o in operands if isinstance(o, Flow)]
    if len(flows) != len(visit.flows) or any(flow.shape is None for flow in flows):
        return visit.stop("takes what is not followed")
    rank = max(len(flow.shape) for flow in flows)
    # A tensor with one channel is spread over those of the others.
    followed = [f for f in flows if f.followed and len(f.labels) > 1]
    if not followed:
        return (
            visit.stop("joins no channels") if any(f.followed for f in flows) else Flow(visit.shape)
        )
    distances = {len(flow.shape) - 1 - flow.axis for flow in followed}
    if len(distances) > 1:
        return visit.stop("joins different axes")
    (distance,) = distances
    first = followed[0]
    for operand in operands:
        is_followed = any(operand is flow for flow in followed)
        if not is_followed and _extent_from_right(operand, distance) != 1:
            return visit.stop("joins it with what cannot be cut")
    for flow in followed[1:]:
        visit.ledger.tie(first.labels, flow.labels)
    size = len(first.labels)
    zero = combine([_flags(operand, "zero", size) for operand in operands], axis=0)
    dead = combine([_flags(operand, "dead", size) for operand in operands], axis=0)
    return visit.follow(rank - 1 - distance, first.labels, zero, dead)


def _flags(operand: Any, name: str, size: int) -> np.ndarray:
    if not isinstance(operand, Flow):
        return np.full(size, not np.any(np.asarray(operand)))
    if not operand.followed or len(operand.labels) != size:
        return np.zeros(size, bool)
    return getattr(operand, name)


@rule("Add", "Subtract", "Average", "Maximum", "Minimum")
def addition(visit: Visit) -> Flow:
    """Joins whose result is zero where all that meets is zero."""
    return _join(visit, np.all)


@rule("Multiply")
def multiplication(visit: Visit) -> Flow:
    """A product, such as a squeeze-and-excite gate: zero where any factor is."""
    return _join(visit, np.any)


@rule("Divide", "TrueDivide")
def division(visit: Visit) -> Flow:
    """A quotient by a constant; nothing that may become zero can stand below."""
    operands = _operands(visit.arguments)
    is_constant = len(operands) == 2 and not isinstance(operands[1], Flow)
    if not is_constant or not isinstance(operands[0], Flow) or np.size(operands[1]) != 1:
        return visit.stop("divides by a tensor")
    flow = operands[0]
    return visit.passed(flow) if flow.followed else Flow(visit.shape)


@rule("Concatenate")
def concatenation(visit: Visit) -> Flow:
    """Tensors one behind the other, along the channels or along another axis."""
    flows = visit.flows
    followed = [flow for flow in flows if flow.followed]
    if not followed:
        return Flow(visit.shape)
    axes = {flow.axis for flow in followed}
    if len(axes) > 1 or any(flow.shape is None for flow in flows):
        return visit.stop("joins different axes")
    (axis,) = axes
    if visit.operation.axis % len(flows[0].shape) != axis:
        return _stacked(visit, axis)
    parts = [_whole(visit, flow, axis) for flow in flows]
    labels, zero, dead = (np.concatenate(column) for column in zip(*parts, strict=True))
    return visit.follow(axis, labels, zero, dead)


def _whole(visit: Visit, flow: Flow, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if flow.followed:
        return flow.labels, flow.zero, flow.dead
    labels = visit.ledger.fresh(flow.shape[axis])
    visit.ledger.pins.append((labels, f"{visit.label} takes what is not followed"))
    return labels, np.zeros(len(labels), bool), np.zeros(len(labels), bool)


def _stacked(visit: Visit, axis: int) -> Flow:
    """Tensors with the same channels, laid side by side in space or time."""
    if not all(flow.followed for flow in visit.flows):
        return visit.stop("joins it with what cannot be cut")
    first = visit.flows[0]
    for flow in visit.flows[1:]:
        visit.ledger.tie(first.labels, flow.labels)
    zero = np.all([flow.zero for flow in visit.flows], axis=0)
    dead = np.all([flow.dead for flow in visit.flows], axis=0)
    return visit.follow(axis, first.labels, zero, dead)
