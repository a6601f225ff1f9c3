"""MAML: the query loss after adaptation, differentiated through the adaptation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int, check_positive, wrong_type
from tf_metacompress.meta.inner_loop import clip, descend
from tf_metacompress.meta.learners.algorithm import Phase, TaskGradient
from tf_metacompress.meta.learners.episode import Episode, EpisodeLoss
from tf_metacompress.meta.learners.learner import MetaLearner
from tf_metacompress.meta.learners.network import Tensors
from tf_metacompress.meta.second_order import check_second_order, require_gradients


@dataclass(frozen=True, kw_only=True)
class MAMLOptions:
    """What MAML++ adds to MAML, each by itself.

    Paper: Antoniou, Edwards, Storkey 2019, arXiv:1810.09502.

    Attributes:
        multi_step_loss_until: Meta-step until which the query losses after all inner steps count,
            the last one ever more; 0 for never.
        learn_inner_lr: Whether a rate for each weight tensor and inner step is learned.
        first_order_until: Meta-step until which gradients are first order, which is cheaper.
        inner_clip_norm: Largest norm of an inner gradient; None for no limit.

    Raises:
        InvalidArgumentError: If a value is out of range.
    """

    multi_step_loss_until: int = 0
    learn_inner_lr: bool = False
    first_order_until: int = 0
    inner_clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("multi_step_loss_until", self.multi_step_loss_until, minimum=0)
        check_int("first_order_until", self.first_order_until, minimum=0)
        if self.inner_clip_norm is not None:
            check_positive("inner_clip_norm", self.inner_clip_norm)


class MAML(MetaLearner):
    """Model-agnostic meta-learning, second order.

    Paper: Finn, Abbeel, Levine 2017, arXiv:1703.03400.

    Args:
        model: A built Keras 3 model; see `MetaLearner`.
        options: What MAML++ adds.
        **kwargs: Passed to `MetaLearner`.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(8, "relu")])
        >>> model.add(keras.layers.Dense(1))
        >>> learner = tmc.meta.MAML(model, inner_lr=0.01).compile("adam", "mse")
        >>> history = learner.fit(tmc.tasks.Sinusoid(num_shots=5), meta_steps=3, verbose=0)
        >>> adapted = learner.adapt((np.zeros((5, 1), "float32"), np.ones((5, 1), "float32")))
        >>> adapted.predict(np.zeros((2, 1)), verbose=0).shape
        (2, 1)
    """

    def __init__(
        self, model: keras.Model, *, options: MAMLOptions | None = None, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        if not isinstance(options, MAMLOptions | None):
            raise wrong_type("`options` must be MAMLOptions.", options=options)
        self.options = options or MAMLOptions()
        if self.needs_second_order:
            check_second_order(model)
        if self.options.learn_inner_lr:
            shape = (self.inner_steps, len(self.inner_weights))
            self.add_extra("inner_lr", np.full(shape, self.inner_lr))

    @property
    def inner_weights(self) -> Sequence[int]:
        """Indices of the weights that adaptation moves."""
        return range(len(self.network.weights))

    def phase(self, meta_step: int) -> Phase:
        """First order and multi-step at first, if the options say so."""
        first_order = meta_step < self.options.first_order_until
        until = self.options.multi_step_loss_until
        return Phase(
            first_order=first_order or not self.needs_second_order,
            multi_step=meta_step < until and self.inner_steps > 1,
            progress=min(meta_step / until, 1.0) if until else 1.0,
        )

    def changes(
        self, extras: Tensors, step: int, gradients: Sequence[tf.Tensor]
    ) -> Sequence[tf.Tensor]:
        """What an inner step subtracts from the weights that it moves.

        Args:
            extras: What is learned besides the weights.
            step: Index of the inner step.
            gradients: One for each of `inner_weights`.

        Returns:
            Tensors of the same shapes.
        """
        if not self.options.learn_inner_lr:
            return [self.inner_lr * gradient for gradient in gradients]
        rates = extras[0][min(step, self.inner_steps - 1)]
        return [rates[index] * gradient for index, gradient in enumerate(gradients)]

    def _path(
        self,
        loss: EpisodeLoss,
        start: Tensors,
        extras: Tensors,
        episode: Episode,
        inner_steps: int,
        first_order: bool = False,
    ) -> Iterator[tuple[Tensors, tf.Tensor]]:
        """Weights after each inner step, and the support loss before it."""
        places = list(self.inner_weights)

        def merged(moved: Tensors) -> Tensors:
            found = dict(zip(places, moved, strict=True))
            return tuple(found.get(index, weight) for index, weight in enumerate(start))

        def support_loss(moved: Tensors) -> tf.Tensor:
            return loss.support(merged(moved), episode.support_x, episode.support_y)

        def update(step: int, gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
            if self.options.inner_clip_norm is not None:
                gradients = clip(gradients, self.options.inner_clip_norm)
            return self.changes(extras, step, gradients)

        moving = tuple(start[index] for index in places)
        for moved, value in descend(support_loss, moving, update, inner_steps, first_order):
            yield merged(moved), value

    def adapted(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, inner_steps: int
    ) -> Tensors:
        """Adapts weights to the support set of a task, as a pure function."""
        *_, (weights, _) = self._path(loss, start, extras, episode, inner_steps, True)
        return weights

    def task_gradient(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, phase: Phase
    ) -> TaskGradient:
        """Gradient of the query loss after adaptation with respect to what it started from."""
        sources = [*start, *extras]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            support_losses, query_losses = [], []
            path = self._path(loss, start, extras, episode, self.inner_steps, phase.first_order)
            for weights, value in path:
                support_losses.append(value)
                if phase.multi_step or len(support_losses) == self.inner_steps:
                    query_loss, outputs = loss.query(weights, episode)
                    query_losses.append(query_loss)
            total = _weighted(query_losses, phase)
        names = [variable.path for variable in self.variables]
        gradients = require_gradients(tape.gradient(total, sources), names)
        return TaskGradient(
            gradients=gradients,
            support_loss=support_losses[0],
            query_loss=query_losses[-1],
            outputs=outputs,
            weights=weights,
        )


def _weighted(losses: Sequence[tf.Tensor], phase: Phase) -> tf.Tensor:
    """The last loss, or a mean of all that leans ever more to the last."""
    if not phase.multi_step:
        return losses[-1]
    share = (1.0 - tf.cast(phase.progress, losses[0].dtype)) / len(losses)
    earlier = tf.add_n(losses[:-1])
    return share * earlier + (1.0 - share * (len(losses) - 1)) * losses[-1]
