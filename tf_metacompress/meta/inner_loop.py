"""The inner loop: a few gradient steps on the support set, as a pure function."""

from collections.abc import Callable, Sequence
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
    losses = []
    for _ in range(loop.inner_steps):
        flat = [tensor for group in groups for tensor in group]
        with tf.GradientTape() as tape:
            tape.watch(flat)
            value = loss(groups, x, y)
        gradients = tape.gradient(value, flat)
        require_gradients(gradients, [f"parameter {i}" for i in range(len(flat))])
        if loop.first_order:
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
        groups = _step(loop, groups, gradients)
        losses.append(value)
    return groups, losses


def _step(loop: InnerLoop, groups: Groups, gradients: Sequence[tf.Tensor]) -> Groups:
    remaining = iter(gradients)
    stepped = []
    for group, rate in zip(groups, loop.inner_lr, strict=True):
        own = [next(remaining) for _ in group]
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in own]) + _SMALLEST)
        factor = rate * tf.minimum(tf.cast(loop.clip_norm, norm.dtype) / norm, 1.0)
        stepped.append(tuple(t - factor * g for t, g in zip(group, own, strict=True)))
    return tuple(stepped)
