"""Short trials: which of several policies does a model recover from best?"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.outer_optimizer import OuterOptimizer

_LEARNING_RATE = 2e-3


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
    optimizer = OuterOptimizer(keras.optimizers.Adam(_LEARNING_RATE), prepared.theta)
    num_actions = len(prepared.problem.table.actions)
    tried: dict[tuple[int, ...], float] = {}

    @tf.function
    def loss_and_gradients(
        choice: tf.Tensor, theta: Sequence[tf.Tensor], x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(theta)
            loss = prepared.relaxed.at_choice(choice, theta, prepared.tensors, x, y)
        return loss, tape.gradient(loss, list(theta), unconnected_gradients="zero")

    def loss_left(choice: np.ndarray) -> float:
        one_hot = tf.one_hot(choice, num_actions, dtype=prepared.theta[0].dtype)
        state, theta = optimizer.init(), prepared.theta
        for _ in range(num_steps):
            _, gradients = loss_and_gradients(one_hot, theta, *support)
            state, theta = optimizer.apply(state, theta, gradients)
        return float(loss_and_gradients(one_hot, theta, *query)[0])

    losses = {}
    for name, choice in choices.items():
        key = tuple(int(index) for index in choice)
        if key not in tried:
            tried[key] = loss_left(choice)
        losses[name] = tried[key]
    return losses
