"""Short trials: which of several policies does a model recover from best?"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tf_metacompress.meta.learner import PreparedTask

_LEARNING_RATE = 2e-3
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-7

Tensors = tuple[tf.Tensor, ...]
AdamState = tuple[Tensors, Tensors, Tensors, tf.Tensor]


def adam_state(weights: Sequence[tf.Tensor]) -> AdamState:
    """Weights, both moments of their gradients, and the number of steps taken."""
    zeros = tuple(tf.zeros_like(weight) for weight in weights)
    return tuple(weights), zeros, zeros, tf.zeros([], weights[0].dtype)


def adam_step(state: AdamState, gradients: Sequence[tf.Tensor], learning_rate: float) -> AdamState:
    """Takes a step of Adam as Keras does it, as a pure function, so that it compiles.

    Paper: Kingma, Ba 2015, arXiv:1412.6980.

    Args:
        state: From `adam_state`, or an earlier step.
        gradients: One a weight.
        learning_rate: Length of the step.

    Returns:
        The next state.
    """
    weights, means, squares, count = state
    count = count + 1
    rate = learning_rate * tf.sqrt(1 - _SECOND**count) / (1 - _FIRST**count)
    means = [m + (1 - _FIRST) * (g - m) for m, g in zip(means, gradients, strict=True)]
    squares = [v + (1 - _SECOND) * (g * g - v) for v, g in zip(squares, gradients, strict=True)]
    moved = [
        w - rate * m / (tf.sqrt(v) + _EPSILON)
        for w, m, v in zip(weights, means, squares, strict=True)
    ]
    return tuple(moved), tuple(means), tuple(squares), count


def recovery_losses(
    prepared: PreparedTask, choices: Mapping[str, np.ndarray], num_steps: int = 25
) -> dict[str, float]:
    """Fine-tunes the model briefly under each choice and measures what loss is left.

    The steps are taken on the support set, the loss is measured on the query set; a task without
    one has its support set split in two. The task's model is not changed.

    Args:
        prepared: The task.
        choices: Name to one action a layer, int array (layers,).
        num_steps: Steps of Adam.

    Returns:
        Name to loss; equal choices are tried once.
    """
    support, query = prepared.halves()
    num_actions = len(prepared.problem.table.actions)
    tried: dict[tuple[int, ...], float] = {}

    @tf.function(reduce_retracing=True)
    def step(
        choice: tf.Tensor, state: AdamState, x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, AdamState]:
        theta = state[0]
        with tf.GradientTape() as tape:
            tape.watch(theta)
            loss = prepared.relaxed.at_choice(choice, theta, prepared.tensors, x, y)
        gradients = tape.gradient(loss, list(theta), unconnected_gradients="zero")
        return loss, adam_step(state, gradients, _LEARNING_RATE)

    def loss_left(choice: np.ndarray) -> float:
        one_hot = tf.one_hot(choice, num_actions, dtype=prepared.theta[0].dtype)
        state = adam_state(prepared.theta)
        for _ in range(num_steps):
            _, state = step(one_hot, state, *support)
        return float(step(one_hot, state, *query)[0])

    losses = {}
    for name, choice in choices.items():
        key = tuple(int(index) for index in choice)
        if key not in tried:
            tried[key] = loss_left(choice)
        losses[name] = tried[key]
    return losses
