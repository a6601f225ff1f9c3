"""The inner loop: a few gradient steps on the support set, as a pure function."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tf_metacompress.errors import check_int, check_positive
from tf_metacompress.meta.second_order import require_gradients

Tensors = tuple[tf.Tensor, ...]
Groups = tuple[Tensors, ...]
Loss = Callable[[Groups, tf.Tensor, tf.Tensor], tf.Tensor]
_SMALLEST = 1e-24


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """How a task is adapted to.

    Attributes:
        inner_steps: Gradient steps, at least 1.
        inner_lr: Length of a step in each group of parameters (Φ, model weights), at most.
        clip_norm: Gradients of a group are shortened to this norm, so that one rate serves models
            of any sharpness; the outer gradient goes through the shortening.
        first_order: Treat the inner gradients as constants in the outer loss.

    Raises:
        InvalidArgumentError: If a value is out of its range.
    """

    inner_steps: int = 2
    inner_lr: tuple[float, ...] = (0.1, 0.02)
    clip_norm: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("inner_steps", self.inner_steps, minimum=1)
        for rate in self.inner_lr:
            check_positive("inner_lr", rate)
        check_positive("clip_norm", self.clip_norm)


def descend(
    loss: Callable[[Tensors], tf.Tensor],
    weights: Tensors,
    update: Callable[[int, Sequence[tf.Tensor]], Sequence[tf.Tensor]],
    inner_steps: int,
    first_order: bool = False,
) -> Iterator[tuple[Tensors, tf.Tensor]]:
    """Takes gradient steps as a pure function, differentiable in the weights.

    Args:
        loss: Maps weights to a scalar.
        weights: Where to start.
        update: Maps the index of the step and the gradients to what is subtracted from the weights.
        inner_steps: How many steps to take.
        first_order: Treat the gradients as constants when differentiating through the steps.

    Yields:
        After each step the weights, and the loss before it.

    Raises:
        MissingGradientError: When the loss does not depend on a weight.
    """
    for step in range(inner_steps):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = loss(weights)
        gradients = tape.gradient(value, list(weights))
        gradients = require_gradients(gradients, [f"parameter {i}" for i in range(len(weights))])
        if first_order:
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
        moved = zip(weights, update(step, gradients), strict=True)
        weights = tuple(weight - change for weight, change in moved)
        yield weights, value


def adapt(
    loop: InnerLoop, loss: Loss, groups: Groups, x: tf.Tensor, y: tf.Tensor
) -> tuple[Groups, list[tf.Tensor]]:
    """Takes the gradient steps: (φ, θ)' = (φ, θ) − α ∇ L_support, ∇ at most `clip_norm` long.

    Differentiable in `groups`; nothing is changed in place.

    Paper: Finn, Abbeel, Levine 2017, arXiv:1703.03400.

    Args:
        loop: How many steps, and how long.
        loss: Maps (groups, x, y) to a scalar.
        groups: Groups of parameters, one for each rate of the loop.
        x: Support inputs.
        y: Support labels.

    Returns:
        The adapted groups, and the support loss before each step.

    Raises:
        MissingGradientError: When the loss does not depend on a parameter.
    """
    flat, losses = tuple(tensor for group in groups for tensor in group), []
    steps = descend(
        lambda weights: loss(_grouped(weights, groups), x, y),
        flat,
        lambda _, gradients: _changes(loop, _grouped(gradients, groups)),
        loop.inner_steps,
        loop.first_order,
    )
    for stepped, value in steps:
        flat = stepped
        losses.append(value)
    return _grouped(flat, groups), losses


def _grouped(flat: Sequence[tf.Tensor], groups: Groups) -> Groups:
    remaining = iter(flat)
    return tuple(tuple(next(remaining) for _ in group) for group in groups)


def _changes(loop: InnerLoop, gradients: Groups) -> list[tf.Tensor]:
    changes = []
    for own, rate in zip(gradients, loop.inner_lr, strict=True):
        changes += [rate * gradient for gradient in clip(own, loop.clip_norm)]
    return changes


def clip(gradients: Sequence[tf.Tensor], clip_norm: float) -> list[tf.Tensor]:
    """Shortens gradients to a joint norm, differentiably.

    Args:
        gradients: Tensors.
        clip_norm: Largest norm of all of them together.

    Returns:
        Tensors of the same direction.
    """
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]) + _SMALLEST)
    factor = tf.minimum(tf.constant(clip_norm, norm.dtype) / norm, 1.0)
    return [factor * gradient for gradient in gradients]
