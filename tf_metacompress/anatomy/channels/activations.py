"""Functions of single values: channels pass, but zero may become something else."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy.channels.ledger import Flow
from tf_metacompress.anatomy.channels.visit import Visit, rule

_ELEMENTWISE = frozenset(
    (
        *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish"),
        *("tanh", "hard_tanh", "sigmoid", "hard_sigmoid", "hard_silu", "softplus", "softsign"),
        *("exponential", "linear", "tanh_shrink", "soft_shrink", "hard_shrink", "squareplus"),
        *("sparse_plus", "log_sigmoid", "sparse_sigmoid", "threshold"),
    )
)


def _known_activations() -> dict[int, str]:
    found = {name: getattr(keras.activations, name, None) for name in _ELEMENTWISE}
    return {id(function): name for name, function in found.items() if function is not None}


def is_elementwise(activation: Any) -> bool:
    """Whether an activation acts on each value by itself, as far as is known.

    Args:
        activation: A function, or a layer used as one.

    Returns:
        False for softmax and for functions that Keras does not bring.
    """
    return activation is None or id(activation) in _known_activations()


def zero_at_zero(function: Callable[[Any], Any]) -> bool:
    """Whether a function of single values maps zero to zero."""
    value = tf.convert_to_tensor(function(tf.zeros((1, 1, 1, 1))))
    return not np.asarray(value, np.float32).any()


def _unary(visit: Visit) -> Flow:
    flow = visit.flows[0]
    if len(visit.flows) != 1:
        return visit.stop("takes several tensors")
    if not flow.followed:
        return Flow(visit.shape)
    keeps = zero_at_zero(visit.operation)
    return visit.passed(flow, zero=flow.zero & keeps, dead=flow.dead & keeps)


rule("ReLU", "LeakyReLU", "ELU")(_unary)
rule("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "Tanh", "HardTanh")(
    _unary
)
rule("Sigmoid", "HardSigmoid", "HardSilu", "Softplus", "Softsign", "Mish", "LogSigmoid")(_unary)
rule("Exp", "Sqrt", "Square", "Abs", "Absolute", "Negative", "Sign", "Clip", "Cast", "Identity")(
    _unary
)


@rule("Activation")
def activation_layer(visit: Visit) -> Flow:
    """An activation as a layer of its own."""
    if not is_elementwise(visit.operation.activation):
        return visit.stop("mixes channels")
    return _unary(visit)


@rule("PReLU")
def prelu(visit: Visit) -> Flow:
    """A rectifier with slopes learnt for each channel, or shared by them."""
    flow = visit.flows[0]
    if not flow.followed:
        return Flow(visit.shape)
    axis = flow.axis - 1
    if visit.operation.alpha.shape[axis] > 1:
        visit.along("alpha", axis, flow.labels)
    return visit.passed(flow)


@rule("Rescaling")
def rescaling(visit: Visit) -> Flow:
    """A gain and an offset, the same for all channels."""
    flow, layer = visit.flows[0], visit.operation
    if np.size(layer.scale) > 1 or np.size(layer.offset) > 1:
        return visit.stop("has constants for single channels")
    if not flow.followed:
        return Flow(visit.shape)
    keeps = not np.any(np.asarray(layer.offset))
    return visit.passed(flow, zero=flow.zero & keeps, dead=flow.dead & keeps)
