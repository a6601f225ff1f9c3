"""The outer loop: one meta-step over a batch of tasks, second order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_metacompress.errors import NonFiniteLossError
from tf_metacompress.meta.inner_loop import InnerLoop, Loss, Tensors, adapt
from tf_metacompress.meta.outer_optimizer import OuterOptimizer
from tf_metacompress.meta.second_order import require_gradients

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class MetaState:
    """Everything a meta-step reads and makes anew.

    Attributes:
        phi: Weights of Φ.
        optimizer: State of the outer optimizer.
        meta_step: Steps taken.
    """

    phi: Tensors
    optimizer: Tensors
    meta_step: int = 0


def meta_gradient(
    loop: InnerLoop, loss: Loss, phi: Tensors, theta: Tensors, batch: Batch
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Gradient of the query loss after the inner loop, with respect to Φ before it.

    Args:
        loop: The inner loop.
        loss: Maps ((φ, θ), x, y) to a scalar.
        phi: Weights of Φ.
        theta: Trainable weights of the task's model.
        batch: Support inputs and labels, query inputs and labels.

    Returns:
        The gradients, the first support loss and the query loss.

    Raises:
        MissingGradientError: When the query loss does not depend on a weight of Φ.
    """
    support_x, support_y, query_x, query_y = batch
    with tf.GradientTape() as tape:
        tape.watch(phi)
        adapted, losses = adapt(loop, loss, (phi, theta), support_x, support_y)
        query_loss = loss(adapted, query_x, query_y)
    gradients = tape.gradient(query_loss, list(phi))
    require_gradients(gradients, [f"weight {i} of Φ" for i in range(len(phi))])
    return gradients, losses[0], query_loss


def meta_step(
    state: MetaState,
    optimizer: OuterOptimizer,
    gradient_fns: Sequence[Callable[[Tensors], tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]]],
    clip_norm: float,
) -> tuple[MetaState, dict[str, float]]:
    """Takes one meta-step: φ ← φ − β ∇_φ mean over tasks of L_query.

    Args:
        state: Φ and the optimizer's variables.
        optimizer: The outer optimizer.
        gradient_fns: One a task; maps Φ to what `meta_gradient` returns.
        clip_norm: Largest global norm of the gradient of one task, so that no task outweighs
            the others.

    Returns:
        The next state, and the metrics support_loss, query_loss and gradient_norm.

    Raises:
        NonFiniteLossError: When a loss is not finite; naming the place of its task.
    """
    total = [tf.zeros_like(tensor) for tensor in state.phi]
    metrics = {"support_loss": 0.0, "query_loss": 0.0, "gradient_norm": 0.0}
    for index, gradient_fn in enumerate(gradient_fns):
        gradients, support_loss, query_loss = gradient_fn(state.phi)
        _check_finite(float(support_loss), float(query_loss), state.meta_step, index)
        gradients, norm = tf.clip_by_global_norm(gradients, clip_norm)
        total = [a + b / len(gradient_fns) for a, b in zip(total, gradients, strict=True)]
        values = (float(support_loss), float(query_loss), float(norm))
        for key, value in zip(metrics, values, strict=True):
            metrics[key] += value / len(gradient_fns)
    variables, phi = optimizer.apply(state.optimizer, state.phi, total)
    return MetaState(phi, variables, state.meta_step + 1), metrics


def _check_finite(support_loss: float, query_loss: float, meta_step: int, task: int) -> None:
    if np.isfinite([support_loss, query_loss]).all():
        return
    raise NonFiniteLossError(
        "The losses of every task must stay finite. "
        f"Received: support_loss={support_loss}, query_loss={query_loss} of task {task} at "
        f"meta-step {meta_step}. Lower inner_lr or meta_lr, or leave the task out.",
        meta_step=meta_step,
        task=task,
    )
