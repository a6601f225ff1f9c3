"""Layers with kernels: they read channels and make new ones."""

from typing import Any

import numpy as np

from tf_metacompress.anatomy.channels.activations import is_elementwise, zero_at_zero
from tf_metacompress.anatomy.channels.ledger import Flow, Labels
from tf_metacompress.anatomy.channels.visit import Visit, rule


def channel_axis(layer: Any, rank: int) -> int:
    """The axis of the channels in tensors of a layer."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def _is_zero(layer: Any, weight: str, axis: int, size: int) -> np.ndarray:
    """Whether a weight is zero for each position along an axis; true where there is no weight."""
    variable = getattr(layer, weight, None)
    if variable is None:
        return np.ones(size, bool)
    array = np.moveaxis(np.asarray(variable, np.float32), axis, 0).reshape(size, -1)
    return ~array.any(axis=1)


def _result(visit: Visit, axis: int, labels: Labels, dead: np.ndarray) -> Flow:
    """What a layer makes, its own activation applied."""
    activation = getattr(visit.operation, "activation", None)
    flow = visit.follow(axis, labels, True, dead)
    if activation is None:
        return flow
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        visit.ledger.pin(flow, f"{visit.label} has the activation {name}, which mixes channels")
        return flow
    keeps = zero_at_zero(activation)
    return visit.follow(axis, labels, keeps, dead & keeps)


@rule("Conv1D", "Conv2D", "Conv3D")
def convolution(visit: Visit) -> Flow:
    """A convolution; with groups, the channels at one place in every group go together."""
    layer, rank = visit.operation, visit.operation.rank + 2
    axis, groups = channel_axis(layer, rank), layer.groups
    width, filters = layer.kernel.shape[-2:]
    read = visit.read(axis, width * groups)
    dead = _is_zero(layer, "kernel", -1, filters) & _is_zero(layer, "bias", 0, filters)
    if groups > 1 and width == 1:
        labels = np.repeat(read, filters // groups)
        visit.extent("groups", read)
        dead |= (
            np.repeat(visit.flows[0].dead, filters // groups) & _is_zero(layer, "bias", 0, filters)
            if visit.flows[0].followed
            else False
        )
    else:
        labels = visit.made(filters)
        for channels in (read, labels) if groups > 1 else ():
            rows = channels.reshape(groups, -1)
            visit.ledger.tie(np.tile(rows[0], groups - 1), rows[1:].ravel())
        visit.reads("kernel", -2, read[:width])
    visit.makes("kernel", -1, labels)
    visit.makes("bias", 0, labels, is_kernel=False)
    visit.extent("filters", labels)
    dead = _is_zero(layer, "kernel", -1, filters) & _is_zero(layer, "bias", 0, filters)
    return _result(visit, axis, labels, dead)


@rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(visit: Visit) -> Flow:
    """A transposed convolution, whose kernel has the output channels before the input's."""
    layer, rank = visit.operation, visit.operation.rank + 2
    axis = channel_axis(layer, rank)
    filters, width = layer.kernel.shape[-2:]
    labels = visit.made(filters)
    visit.reads("kernel", -1, visit.read(axis, width))
    visit.makes("kernel", -2, labels)
    visit.makes("bias", 0, labels, is_kernel=False)
    visit.extent("filters", labels)
    dead = _is_zero(layer, "kernel", -2, filters) & _is_zero(layer, "bias", 0, filters)
    return _result(visit, axis, labels, dead)


@rule("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(visit: Visit) -> Flow:
    """A depthwise convolution: its channels are those it reads, each several times over."""
    layer, rank = visit.operation, visit.operation.rank + 2
    axis = channel_axis(layer, rank)
    width, multiplier = layer.kernel.shape[-2:]
    flow = visit.flows[0]
    if not flow.followed or flow.axis != axis:
        visit.along("kernel", -2, visit.read(axis, width))
        return Flow(visit.shape)
    labels = np.repeat(flow.labels, multiplier)
    visit.makes("kernel", -2, flow.labels)
    visit.makes("bias", 0, labels, is_kernel=False)
    silent = (
        np.repeat(flow.dead, multiplier)
        | ~np.asarray(layer.kernel).any(axis=tuple(range(layer.kernel.ndim - 2))).ravel()
    )
    return _result(visit, axis, labels, silent & _is_zero(layer, "bias", 0, len(labels)))


@rule("SeparableConv1D", "SeparableConv2D")
def separable(visit: Visit) -> Flow:
    """A depthwise and a pointwise convolution in one layer."""
    layer, rank = visit.operation, visit.operation.rank + 2
    axis = channel_axis(layer, rank)
    width, multiplier = layer.depthwise_kernel.shape[-2:]
    filters = layer.pointwise_kernel.shape[-1]
    read, labels = visit.read(axis, width), visit.made(filters)
    visit.reads("depthwise_kernel", -2, read)
    visit.reads("pointwise_kernel", -2, np.repeat(read, multiplier))
    visit.makes("pointwise_kernel", -1, labels)
    visit.makes("bias", 0, labels, is_kernel=False)
    visit.extent("filters", labels)
    dead = _is_zero(layer, "pointwise_kernel", -1, filters) & _is_zero(layer, "bias", 0, filters)
    return _result(visit, axis, labels, dead)


@rule("Dense")
def dense(visit: Visit) -> Flow:
    """A dense layer, which reads and makes the last axis."""
    layer = visit.operation
    if visit.flows[0].shape is None:
        return visit.stop("reads a tensor of unknown shape")
    axis = len(visit.flows[0].shape) - 1
    width, units = layer.kernel.shape
    labels = visit.made(units)
    visit.reads("kernel", 0, visit.read(axis, width))
    visit.makes("kernel", 1, labels)
    visit.makes("bias", 0, labels, is_kernel=False)
    visit.extent("units", labels)
    dead = _is_zero(layer, "kernel", 1, units) & _is_zero(layer, "bias", 0, units)
    return _result(visit, axis, labels, dead)


@rule("Embedding")
def embedding(visit: Visit) -> Flow:
    """A table of vectors, of which single components can go."""
    layer = visit.operation
    if visit.flows[0].shape is None:
        return visit.stop("reads a tensor of unknown shape")
    labels = visit.made(layer.output_dim)
    visit.makes("embeddings", 1, labels)
    visit.extent("output_dim", labels)
    return visit.follow(
        len(visit.flows[0].shape), labels, True, _is_zero(layer, "embeddings", 1, layer.output_dim)
    )


@rule("LSTM", "GRU", "SimpleRNN")
def recurrent(visit: Visit) -> Flow:
    """A recurrent layer reads channels; its own units, tied by its state, all stay."""
    kernel = visit.operation.cell.kernel
    flow = visit.flows[0]
    if len(visit.flows) != 1 or flow.shape is None:
        return visit.stop("is given its state")
    visit.reads("cell.kernel", 0, visit.read(len(flow.shape) - 1, kernel.shape[0]))
    return Flow(visit.shape)


@rule("BatchNormalization")
def batch_normalization(visit: Visit) -> Flow:
    """Normalises each channel by itself; without a gain it passes zero on by its mean alone."""
    layer, flow = visit.operation, visit.flows[0]
    rank = len(flow.shape) if flow.shape is not None else 0
    if not isinstance(layer.axis, int) or not rank:
        return visit.stop("normalises over several axes")
    axis = layer.axis % rank
    labels = flow.labels
    if not flow.followed or flow.axis != axis:
        labels = visit.read(axis, layer.moving_mean.shape[0])
        _along(visit, labels)
        return Flow(visit.shape)
    _along(visit, labels)
    mean = np.asarray(layer.moving_mean, np.float64)
    gain = np.asarray(layer.gamma, np.float64) if layer.scale else np.ones_like(mean)
    shift = np.asarray(layer.beta, np.float64) if layer.center else np.zeros_like(mean)
    at_zero = shift - mean * gain / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    dead = ((gain == 0) & (shift == 0)) | (flow.dead & (at_zero == 0))
    return visit.passed(flow, zero=flow.zero | bool(layer.scale), dead=dead)


def _along(visit: Visit, labels: Labels) -> None:
    for weight, is_there in (("gamma", visit.operation.scale), ("beta", visit.operation.center)):
        if is_there:
            visit.makes(weight, 0, labels, is_kernel=False)
    if visit.operation.scale:
        visit.along("moving_mean", 0, labels)
    else:
        # Nothing else makes the result zero: (0 − mean) / deviation.
        visit.makes("moving_mean", 0, labels, is_kernel=False)
    visit.along("moving_variance", 0, labels)
