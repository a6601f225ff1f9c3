"""Reptile: move towards the weights that a task was trained to."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int
from tf_metacompress.meta.inner_loop import descend
from tf_metacompress.meta.learners.algorithm import Phase, TaskGradient
from tf_metacompress.meta.learners.episode import Episode, EpisodeLoss
from tf_metacompress.meta.learners.learner import MetaLearner
from tf_metacompress.meta.learners.network import Tensors


class Reptile(MetaLearner):
    """Trains on each task with plain gradient steps, then moves a little towards where that led.

    A task's support and query examples are pooled and visited in small batches. With the outer
    optimizer "sgd" its learning rate is the ε of the paper.

    Paper: Nichol, Achiam, Schulman 2018, arXiv:1803.02999.

    Args:
        model: A built Keras 3 model; see `MetaLearner`.
        inner_batch_size: Examples in a gradient step of meta-training. Adaptation to a new task
            uses its whole support set in every step.
        **kwargs: Passed to `MetaLearner`.
    """

    needs_second_order = False

    def __init__(self, model: keras.Model, *, inner_batch_size: int = 10, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.inner_batch_size = check_int("inner_batch_size", inner_batch_size, minimum=1)

    def adapted(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, inner_steps: int
    ) -> Tensors:
        """Adapts weights to the support set of a task, as a pure function."""
        del extras
        x, y = episode.support_x, episode.support_y
        *_, (weights, _) = descend(
            lambda moved: loss.support(moved, x, y), start, self._changes, inner_steps, True
        )
        return weights

    def _changes(self, step: int, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        del step
        return [self.inner_lr * gradient for gradient in gradients]

    def task_gradient(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, phase: Phase
    ) -> TaskGradient:
        """Where the weights were minus where the task took them."""
        del extras, phase
        x = tf.concat([episode.support_x, episode.query_x], 0)
        y = tf.concat([episode.support_y, episode.query_y], 0)
        rows = self._rows(x.shape[0])
        weights, first = start, None
        for batch in rows:
            chosen = tf.gather(x, batch), tf.gather(y, batch)
            ((weights, value),) = descend(
                lambda moved, chosen=chosen: loss.support(moved, *chosen),
                weights,
                self._changes,
                1,
                first_order=True,
            )
            first = value if first is None else first
        query_loss, outputs = loss.query(weights, episode)
        return TaskGradient(
            gradients=[before - after for before, after in zip(start, weights, strict=True)],
            support_loss=first,
            query_loss=query_loss,
            outputs=outputs,
            weights=weights,
        )

    def _rows(self, num_examples: int) -> list[np.ndarray]:
        """Rows of each inner step: all examples in turn, in one fixed random order."""
        order = np.random.default_rng(0).permutation(num_examples)
        needed = self.inner_steps * self.inner_batch_size
        rows = np.resize(order, needed).reshape(self.inner_steps, self.inner_batch_size)
        return list(rows)
