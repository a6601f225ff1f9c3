"""Pruned weights are zero in their variables too, so every checkpoint is sparse."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Constraint = Callable[[Any], Any]


class MaskConstraint:
    """Multiplies a weight with its mask after each step of the optimizer.

    The forward pass masks anyway. This keeps momentum from moving pruned weights away from zero, so
    that a file written at any moment of training holds zeros, whatever the order of the callbacks.

    Args:
        mask: Variable of the shape of the weight; 1 keeps.
        inner: Constraint that the weight had before, applied first; None for none.
    """

    def __init__(self, mask: keras.Variable, inner: Constraint | None = None) -> None:
        self.mask = mask
        self.inner = inner

    def __call__(self, weight: Any) -> tf.Tensor:
        """Gives the weight with its pruned entries at zero."""
        value = tf.convert_to_tensor(weight if self.inner is None else self.inner(weight))
        return value * tf.cast(tf.convert_to_tensor(self.mask), value.dtype)


def constrain(weight: keras.Variable, mask: keras.Variable) -> None:
    """Has optimizers keep the pruned entries of a weight at zero.

    Args:
        weight: A trainable weight.
        mask: Variable of its shape; 1 keeps.
    """
    release(weight)
    weight.constraint = MaskConstraint(mask, weight.constraint)


def release(weight: keras.Variable) -> None:
    """Gives a weight back the constraint it had before; nothing happens when it was not masked.

    Args:
        weight: A trainable weight.
    """
    if isinstance(weight.constraint, MaskConstraint):
        weight.constraint = weight.constraint.inner
