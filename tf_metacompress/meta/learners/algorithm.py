"""The mathematics of a meta-learner: what it learns, how it adapts, what it descends."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int, check_positive
from tf_metacompress.meta.learners.episode import Episode, EpisodeLoss
from tf_metacompress.meta.learners.network import Network, Tensors
from tf_metacompress.policy import Policy
from tf_metacompress.schedules import SparsitySchedule

MOMENTUM = 0.95
"""Weight of the old statistics when adapted weights are observed."""


@dataclass(frozen=True, kw_only=True)
class TaskGradient:
    """What one task says about the meta-learned variables.

    Attributes:
        gradients: One for each of the learner's `variables`.
        support_loss: Support loss before adaptation.
        query_loss: Query loss after it.
        outputs: Outputs of the query examples after it.
        weights: The adapted weights.
    """

    gradients: list[tf.Tensor]
    support_loss: tf.Tensor
    query_loss: tf.Tensor
    outputs: tf.Tensor
    weights: Tensors


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Where meta-training stands, as far as the gradient of a task depends on it.

    Attributes:
        first_order: Whether inner gradients count as constants.
        multi_step: Whether the query loss after every inner step counts, not just after the last.
        progress: Share of the multi-step phase that has passed; a scalar tensor inside a graph.
    """

    first_order: bool = False
    multi_step: bool = False
    progress: float | tf.Tensor = 1.0


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What `compile` was told.

    Attributes:
        optimizer: Moves the learned variables.
        loss: The two losses of a task.
        meta_batch_size: Tasks in a meta-step.
        tasks_at_once: Tasks in one call of the compiled gradient.
        jit_compile: Whether XLA compiles it.
        pruning_schedule: How masks grow; None for the default.
    """

    optimizer: keras.Optimizer
    loss: EpisodeLoss
    meta_batch_size: int
    tasks_at_once: int
    jit_compile: bool
    pruning_schedule: SparsitySchedule | None


class Algorithm(abc.ABC):
    """What a kind of meta-learner computes. See `MetaLearner` for the arguments."""

    needs_second_order: ClassVar[bool] = True

    def __init__(
        self,
        model: keras.Model,
        *,
        inner_steps: int = 1,
        inner_lr: float = 0.1,
        batch_norm: str = "inference",
        policy: Policy | None = None,
    ) -> None:
        self.inner_steps = check_int("inner_steps", inner_steps, minimum=1)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.network = Network(model, batch_norm, policy)
        self.meta_step = 0
        self.extras: list[keras.Variable] = []
        self.compiled: Compiled | None = None
        self._traced: dict[Any, Any] = {}

    def __repr__(self) -> str:
        """Shows the kind of learner, its model and how far it has come."""
        return (
            f"{type(self).__name__}({self.model.name!r}, inner_steps={self.inner_steps}, "
            f"inner_lr={self.inner_lr}, meta_step={self.meta_step})"
        )

    @property
    def model(self) -> keras.Model:
        """The model with the meta-learned weights, before adaptation."""
        return self.network.model

    @property
    def variables(self) -> list[keras.Variable]:
        """What meta-training moves: the weights, then the extras."""
        return [*self.network.weights, *self.extras]

    def add_extra(self, name: str, value: np.ndarray) -> keras.Variable:
        """Adds something to be learned besides the weights.

        Args:
            name: Its name.
            value: Where it starts.

        Returns:
            The variable.
        """
        variable = keras.Variable(value, name=name, dtype=self.network.weights[0].dtype)
        self.extras.append(variable)
        return variable

    def phase(self, meta_step: int) -> Phase:
        """What kind of gradient a meta-step takes.

        Args:
            meta_step: Its index.

        Returns:
            The phase.
        """
        del meta_step
        return Phase(first_order=not self.needs_second_order)

    @abc.abstractmethod
    def adapted(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, inner_steps: int
    ) -> Tensors:
        """Adapts weights to the support set of a task, as a pure function."""

    @abc.abstractmethod
    def task_gradient(
        self, loss: EpisodeLoss, start: Tensors, extras: Tensors, episode: Episode, phase: Phase
    ) -> TaskGradient:
        """Gradient of what the learner minimises on one task."""

    def read(self) -> tuple[Tensors, Tensors]:
        """Gives the present weights and extras as tensors."""
        weights = tuple(tf.convert_to_tensor(v) for v in self.network.weights)
        return weights, tuple(tf.convert_to_tensor(v) for v in self.extras)

    def traced(self, key: Any, make: Callable[[], Any]) -> Any:
        """Gives a compiled function, made the first time since `compile`.

        Args:
            key: What it computes.
            make: Makes it.

        Returns:
            The function.
        """
        if key not in self._traced:
            self._traced[key] = make()
        return self._traced[key]
