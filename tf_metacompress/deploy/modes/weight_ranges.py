"""Keeps the biases of channels whose weights are all zero, or nearly so.

An int32 bias is stored in units of (input scale) · (weight scale of its channel). The quantizer
gives a channel that was pruned away a weight scale near 1e-11, in which an ordinary bias overflows
and is lost. Zeros are zeros under any scale, so such a channel gets one in which its bias fits.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_metacompress.deploy.constants import stored_values
from tf_metacompress.deploy.flatfile import OpInfo, Subgraph

_LARGEST_BIAS = 2.0**30
_LARGEST_WEIGHT = {8: 127, 4: 7}
_ACTIVATION_STEPS = 255
_OPERANDS = {
    "CONV_2D": (0, 1, 2, 0),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
"""Position of input, weights and bias among the inputs, and the axis of the output channels."""


def weight_ranges(
    graph: Subgraph, ranges: Mapping[str, Mapping[str, Any]], int4: frozenset[int]
) -> dict[str, dict[str, np.ndarray]]:
    """Finds the ranges of those weights whose own range would lose a bias.

    Args:
        graph: A float32 graph.
        ranges: Tensor name to the smallest and largest value of each activation.
        int4: Indices of the operators whose weights will have 4 bits.

    Returns:
        Name of a weight tensor to "min" and "max", each with one value a channel, shaped to
        broadcast over the tensor. Tensors whose own range serves are left out.
    """
    widened: dict[str, dict[str, np.ndarray]] = {}
    for op in graph.ops:
        for name, bound in _widened(op, graph, ranges, 4 if op.index in int4 else 8):
            if name in widened:
                bound = np.maximum(bound, widened[name]["max"])
            widened[name] = {"min": -bound, "max": bound}
    return widened


def _widened(
    op: OpInfo, graph: Subgraph, ranges: Mapping[str, Mapping[str, Any]], bits: int
) -> Iterator[tuple[str, np.ndarray]]:
    operands = _OPERANDS.get(op.name)
    if operands is None or len(op.inputs) <= operands[2] or op.inputs[operands[2]] < 0:
        return
    source, kernel, bias = (graph.tensors[op.inputs[position]] for position in operands[:3])
    weights, offsets = stored_values(kernel), stored_values(bias)
    if weights is None or offsets is None or not ranges.get(source.name):
        return
    axis = operands[3]
    rest = tuple(other for other in range(weights.ndim) if other != axis)
    largest = np.abs(weights).max(axis=rest, keepdims=True)
    low, high = (float(ranges[source.name][end].item()) for end in ("min", "max"))
    span = max(high, 0.0) - min(low, 0.0)
    unit = max(span, 1e-9) / _ACTIVATION_STEPS / _LARGEST_WEIGHT[bits]
    needed = np.abs(offsets).reshape(largest.shape) / (unit * _LARGEST_BIAS)
    if (needed > largest).any():
        yield kernel.name, np.maximum(largest, needed).astype(np.float32)
