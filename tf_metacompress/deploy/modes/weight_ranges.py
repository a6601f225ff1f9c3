"""Gives weights other ranges than their own, where their own would not do.

A channel whose weights are whole multiples of a step gets a range, perhaps slightly wider than its
largest weight, in which every one of its levels is a whole number of the steps that are stored.

A channel whose weights are all zero, or nearly so, gets one that the runtime can work with. An
int32 bias is stored in units of (input scale) · (weight scale of its channel). The quantizer gives
a channel that was pruned away a weight scale near 1e-11, in which an ordinary bias overflows and is
lost, and at which XNNPACK refuses the whole file. Zeros are zeros under any scale.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_metacompress.deploy.constants import stored_values
from tf_metacompress.deploy.flatfile import OpInfo, Subgraph, TensorInfo
from tf_metacompress.deploy.integer_grid import MAX_LEVEL, channel_levels
from tf_metacompress.deploy.modes.op_formats import op_key

_LARGEST_BIAS = 2.0**30
_SMALLEST_SHARE = 2.0**-16
_LARGEST_WEIGHT = {8: MAX_LEVEL, 4: 7}
_ACTIVATION_STEPS = 255
_LOOK_UP = "GATHER"
_BYTE = 8
_SHORT_DIGITS = 4
_FLOAT32_ROUNDING = 1e-6
_OPERANDS = {
    "CONV_2D": (0, 1, 2, 0),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
"""Position of input, weights and bias among the inputs, and the axis of the output channels."""


def weight_ranges(
    graph: Subgraph, ranges: Mapping[str, Mapping[str, Any]], bits: Mapping[str, int]
) -> dict[str, dict[str, np.ndarray]]:
    """Finds the ranges of those weights whose own range would not do.

    Args:
        graph: A float32 graph.
        ranges: Tensor name to the smallest and largest value of each activation.
        bits: Key of an operator to the bits of its weights; those with neither 4 nor 8 are left
            out.

    Returns:
        Name of a weight tensor to "min" and "max", each with one value a channel, shaped to
        broadcast over the tensor. Tensors whose own range serves are left out.
    """
    widened: dict[str, dict[str, np.ndarray]] = {}
    for op in graph.ops:
        stored = bits.get(op_key(op, graph))
        if stored not in _LARGEST_WEIGHT:
            continue
        for name, bound in _widened(op, graph, ranges, stored):
            if name in widened:
                bound = np.maximum(bound, widened[name]["max"])
            widened[name] = {"min": -bound, "max": bound}
        if op.name == _LOOK_UP and stored == _BYTE:
            widened |= _table_range(graph.tensors[op.inputs[0]])
    return widened


def _table_range(table: TensorInfo) -> dict[str, dict[str, np.ndarray]]:
    """The range of a table of vectors, which the quantizer gives a zero point as an activation.

    From −128 to 127 steps the zero point is 0, and the levels of a grid are whole numbers.
    """
    weights = stored_values(table)
    if weights is None or not weights.any():
        return {}
    row = weights.reshape(1, -1)
    largest = np.abs(row).max(axis=1, keepdims=True)
    bound = _exact_bound(largest, channel_levels(row)[:, None], largest, MAX_LEVEL)
    step = bound.reshape([1] * weights.ndim).astype(np.float32) / np.float32(MAX_LEVEL)
    return {table.name: {"min": -np.float32(MAX_LEVEL + 1) * step, "max": MAX_LEVEL * step}}


def _widened(
    op: OpInfo, graph: Subgraph, ranges: Mapping[str, Mapping[str, Any]], bits: int
) -> Iterator[tuple[str, np.ndarray]]:
    operands = _OPERANDS.get(op.name)
    if operands is None:
        return
    source, kernel = (graph.tensors[op.inputs[position]] for position in operands[:2])
    weights = stored_values(kernel)
    if weights is None:
        return
    axis = operands[3]
    rest = tuple(other for other in range(weights.ndim) if other != axis)
    largest = np.abs(weights).max(axis=rest, keepdims=True)
    needed = np.maximum(
        _bias_bound(op, graph, ranges.get(source.name), bits, largest.shape),
        _smallest_bound(largest),
    )
    levels = channel_levels(weights, axis).reshape(largest.shape)
    bound = _exact_bound(largest, levels, needed, _LARGEST_WEIGHT[bits])
    bound = bound.astype(np.float32)
    if (bound != largest).any():
        yield kernel.name, bound


def _exact_bound(
    largest: np.ndarray, levels: np.ndarray, needed: np.ndarray, capacity: int
) -> np.ndarray:
    """The least range in which each level of a channel is a whole number of stored steps.

    With `levels` = 7 and a capacity of 127 that is 18 steps a level, or fewer where the channel
    needs a wider range. Where one step is too many, or the channel is on no grid, the range that
    the channel needs wins.
    """
    fits = (levels > 0) & (levels <= capacity)
    levels = _of_one_grid(np.where(fits, levels, capacity))
    unit = _unfolded(largest.astype(np.float64) / levels) * capacity
    steps = np.minimum(np.floor(unit / needed), capacity // levels)
    exact = fits & (steps >= 1.0)
    return np.where(exact, unit / np.maximum(steps, 1.0), np.maximum(largest, needed))


def _unfolded(step: np.ndarray) -> np.ndarray:
    """Takes away what folding BatchNormalization added to a step of four binary digits.

    Steps of the quantizer "short_scale" are such numbers until float32 multiplies them.
    """
    fraction, exponent = np.frexp(step)
    short = np.ldexp(np.rint(fraction * 2**_SHORT_DIGITS), exponent - _SHORT_DIGITS)
    return np.where(np.abs(short - step) <= _FLOAT32_ROUNDING * step, short, step)


def _of_one_grid(levels: np.ndarray) -> np.ndarray:
    """Counts a channel that uses every other level, or the outermost only, as the others are."""
    full = 2 ** int(levels.max()).bit_length() - 1
    return np.where(full % levels == 0, full, levels)


def _smallest_bound(largest: np.ndarray) -> np.ndarray:
    """What each channel's range must at least be for XNNPACK to take the operator.

    It refuses a file in which (input scale) · (weight scale) / (output scale) falls below 2⁻³² in
    some channel. A channel of zeros gets the range of the widest one.
    """
    widest = float(largest.max()) or 1.0
    return np.where(largest == 0.0, widest, widest * _SMALLEST_SHARE)


def _bias_bound(
    op: OpInfo, graph: Subgraph, source: Mapping[str, Any] | None, bits: int, shape: tuple[int, ...]
) -> np.ndarray:
    """What each channel's range must at least be for its bias to fit an int32."""
    position = _OPERANDS[op.name][2]
    has_bias = len(op.inputs) > position and op.inputs[position] >= 0
    offsets = stored_values(graph.tensors[op.inputs[position]]) if has_bias else None
    if offsets is None or not source:
        return np.zeros(shape)
    low, high = (float(source[end].item()) for end in ("min", "max"))
    unit = (max(high, 0.0) - min(low, 0.0)) / _ACTIVATION_STEPS / _LARGEST_WEIGHT[bits]
    return np.abs(offsets).reshape(shape) / (unit * _LARGEST_BIAS)


def without_empty_ranges(ranges: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Gives activations that were zero on all samples the range [0, 1].

    Args:
        ranges: Tensor name to "min" and "max".

    Returns:
        The same mapping with no empty range in it.
    """
    filled = dict(ranges)
    for name, found in ranges.items():
        if found and not np.any(found["min"]) and not np.any(found["max"]):
            filled[name] = {"min": np.zeros(1, np.float32), "max": np.ones(1, np.float32)}
    return filled
