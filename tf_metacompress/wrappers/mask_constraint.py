"""Pruned weights are zero in their variables too, so every checkpoint is sparse."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Constraint = Callable[[Any], Any]
Masked = Callable[[tf.Tensor], tf.Tensor]


class MaskConstraint:
    """Puts what was pruned from a weight back to zero after each step of the optimizer.

    The forward pass masks anyway. This keeps momentum from moving pruned weights away from zero, so
    that a file written at any moment of training holds zeros, whatever the order of the callbacks.

    Args:
        masked: Gives the weight with its pruned entries at zero.
        inner: Constraint that the weight had before, applied first; None for none.
    """

    def __init__(self, masked: Masked, inner: Constraint | None) -> None:
        self.masked = masked
        self.inner = inner

    def __call__(self, weight: Any) -> tf.Tensor:
        """Gives the weight with its pruned entries at zero."""
        return self.masked(
            tf.convert_to_tensor(weight if self.inner is None else self.inner(weight))
        )


def constrain(weight: keras.Variable, masked: Masked) -> MaskConstraint:
    """Has optimizers keep the pruned entries of a weight at zero.

    Args:
        weight: A weight.
        masked: Gives a value of it with its pruned entries at zero.

    Returns:
        The constraint, to be released later.
    """
    weight.constraint = MaskConstraint(masked, weight.constraint)
    return weight.constraint


def release(weight: keras.Variable, constraint: MaskConstraint) -> None:
    """Takes a constraint out of those of a weight, wherever it stands among them.

    Args:
        weight: The weight.
        constraint: What `constrain` gave.
    """
    outer, present = None, weight.constraint
    while present is not None and present is not constraint:
        outer, present = present, getattr(present, "inner", None)
    if present is None:
        return
    if outer is None:
        weight.constraint = constraint.inner
    else:
        outer.inner = constraint.inner
