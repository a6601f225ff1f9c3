"""Tasks made ready for the loops: tensors, a loss, and one compiled step per architecture."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import check_keras_model
from tf_metacompress.meta.features import with_support
from tf_metacompress.meta.fisher import fisher_damage
from tf_metacompress.meta.inner_loop import Groups, InnerLoop, Tensors
from tf_metacompress.meta.model_reading import ModelReading, read_model
from tf_metacompress.meta.outer_loop import Batch, meta_gradient
from tf_metacompress.meta.problem import Problem, problem_of
from tf_metacompress.meta.second_order import check_second_order
from tf_metacompress.meta.support_reading import SupportReading, read_support
from tf_metacompress.meta.task_examples import check_examples
from tf_metacompress.meta.task_loss import RelaxedLoss, TaskTensors, relaxed_loss, task_tensors
from tf_metacompress.policy import Action, check_budget
from tf_metacompress.tasks import Task
from tf_metacompress.typing import ArrayPair

_SMALLEST_SUPPORT, _LARGEST_SUPPORT = 32, 512
_MOST_MACS = 5e8


@dataclass(frozen=True, kw_only=True)
class PreparedTask:
    """A task with everything that the loops need.

    Attributes:
        task: The task.
        problem: The task read into arrays; after `knowing` with what its support set tells.
        tensors: The same as tensors.
        theta: Trainable weights of its model.
        relaxed: Its relaxed loss.
        step: Compiled `meta_gradient` of its architecture.
        blind: The task as the weights of its model alone tell it; None before `knowing`.
        told: What its support set tells; None before `knowing`.
    """

    task: Task
    problem: Problem
    tensors: TaskTensors
    theta: Tensors
    relaxed: RelaxedLoss
    step: Callable[..., Any]
    blind: Problem | None = None
    told: SupportReading | None = None

    def loss(self, groups: Groups, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Relaxed loss at (φ, θ)."""
        return self.relaxed(groups, self.tensors, x, y)

    def gradient(self, phi: Tensors, batch: Batch) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Meta-gradient on one batch; see `meta_gradient`."""
        return self.step(tuple(phi), self.theta, self.tensors.flat(), batch)

    def fisher_damage(self) -> np.ndarray:
        """Damage of each action as its support set sees it, float64 (layers, actions)."""
        weights = (self.theta, self.tensors.others)
        return fisher_damage(self.relaxed, weights, self.problem, *self.full_support())

    def knowing(self, told: SupportReading) -> "PreparedTask":
        """Gives the task with features and a prior that know what its support set tells."""
        blind = self.problem
        known = replace(
            blind,
            features=with_support(blind.features, told.curvature, told.measured),
            prior=told.informed(blind.prior),
        )
        return replace(
            self, problem=known, blind=blind, told=told, tensors=self.tensors.reading(known)
        )

    def varied(self, head_weights: np.ndarray, knows_support: bool) -> "PreparedTask":
        """Gives the task as some heads of Φ see it, with or without what its support set tells."""
        tensors = self.tensors.reading(self.problem if knows_support else self.blind)
        heads = tf.constant(head_weights, tensors.prior.dtype)
        return replace(self, tensors=replace(tensors, head_weights=heads))

    def full_support(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Support inputs and labels, at most 512 of them, evenly spaced."""
        return self._examples(self.task.support)

    def inner_support(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The same for an inner step of `adapt`, fewer of a large model: a step takes seconds."""
        count = self.problem.num_examples(_MOST_MACS, _SMALLEST_SUPPORT, _LARGEST_SUPPORT)
        return self.some_support(count)

    def some_support(self, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Support inputs and labels, at most so many of them, evenly spaced: they may be sorted."""
        return self._examples(self.task.support, count)

    def _examples(
        self, pair: ArrayPair, count: int = _LARGEST_SUPPORT
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = pair
        keep = np.linspace(0, len(x) - 1, min(len(x), count)).astype(int)
        return _tensors(x[keep], y[keep], self.theta[0].dtype)

    def halves(self) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Support and query examples, at most 512 each; the support set halved without a query."""
        if self.task.query is not None:
            return self.full_support(), self._examples(self.task.query)
        x, y = self.task.support
        return self._examples((x[::2], y[::2])), self._examples((x[1::2], y[1::2]))

    def draw(self, batch_size: int, generator: np.random.Generator) -> Batch:
        """Draws support and query examples, with replacement where there are too few."""
        drawn: list[tf.Tensor] = []
        for x, y in (self.task.support, self.task.resolved_query):
            rows = generator.choice(len(x), batch_size, replace=len(x) < batch_size)
            drawn += _tensors(x[rows], y[rows], self.theta[0].dtype)
        return tuple(drawn)


def _tensors(x: np.ndarray, y: np.ndarray, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    labels = tf.constant(y) if np.issubdtype(y.dtype, np.integer) else tf.constant(y, dtype)
    return tf.constant(x, dtype), labels


def _architecture(task: Task) -> str:
    """What tasks must have in common to share a trace."""
    model = task.model
    losses = [str(task.loss), str(model.loss)]
    if not getattr(model, "inputs", None):
        # What a subclassed model computes is in its code, which its config need not tell.
        return json.dumps([id(model), *losses])
    config = {key: value for key, value in model.get_config().items() if key != "name"}
    return json.dumps([type(model).__name__, config, *losses], default=str, sort_keys=True)


class TaskCompiler:
    """Prepares tasks, compiling the meta-gradient once per architecture.

    What it has read of a model it keeps: the weights must not change between two tasks on it.

    Args:
        actions: What may be done to a layer.
        temperature: Softness of the relaxed choice.
        loop: The inner loop.
    """

    def __init__(self, actions: Sequence[Action], temperature: float, loop: InnerLoop) -> None:
        self.actions = tuple(actions)
        self.temperature = temperature
        self.loop = loop
        self._steps: dict[str, Callable[..., Any]] = {}
        # Each beside what its key names, which must live as long as the key.
        self._readings: dict[int, tuple[keras.Model, ModelReading]] = {}
        self._told: dict[tuple[int, ...], tuple[tuple[Any, ...], SupportReading]] = {}

    def prepare(self, task: Task, *, quiet: bool = True) -> PreparedTask:
        """Reads a task and compiles for it what no earlier task of its architecture has.

        Args:
            task: The task; its model is not changed.
            quiet: Without progress bars while its support set is read.

        Returns:
            The prepared task.

        Raises:
            InvalidArgumentError: When examples, model and loss do not fit each other.
            InfeasibleBudgetError: When no choice of actions fits the budget.
            SecondOrderGradientError: When the loop is second order and the model cannot be.
        """
        check_keras_model(task.model)
        loss = check_examples(task)
        check_budget(task.budget)
        reading = self._read(task.model)
        problem = problem_of(reading, task.budget, task.device, self.actions, task.latency)
        problem.allocate(problem.prior)  # an error now rather than after learning from it
        if not self.loop.first_order:
            check_second_order(task.model)
        relaxed = relaxed_loss(task.model, problem, loss, self.temperature)
        key = _architecture(task)
        if key not in self._steps:
            self._steps[key] = compile_step(self.loop, relaxed)
        theta = tuple(tf.convert_to_tensor(v) for v in task.model.trainable_variables)
        dtype = keras.backend.standardize_dtype(theta[0].dtype)
        prepared = PreparedTask(
            task=task,
            problem=problem,
            tensors=task_tensors(task.model, problem, relaxed, dtype),
            theta=theta,
            relaxed=relaxed,
            step=self._steps[key],
        )
        return prepared.knowing(self._read_support(prepared, quiet))

    def _read(self, model: keras.Model) -> ModelReading:
        """Tasks on one model share what it tells of itself."""
        key = id(model)
        if key not in self._readings:
            self._readings[key] = (model, read_model(model, self.actions))
        return self._readings[key][1]

    def _read_support(self, prepared: PreparedTask, quiet: bool) -> SupportReading:
        """Tasks on one model and one support set share what it tells."""
        task = prepared.task
        held = (task.model, *task.support)
        key = tuple(map(id, held))
        if key not in self._told:
            self._told[key] = (held, read_support(prepared, quiet=quiet))
        return self._told[key][1]


def compile_step(loop: InnerLoop, relaxed: RelaxedLoss) -> Callable[..., Any]:
    """Compiles the meta-gradient of one architecture.

    Args:
        loop: The inner loop.
        relaxed: Relaxed loss of any task on the architecture.

    Returns:
        Maps (φ, θ, task tensors, batch) to what `meta_gradient` returns.
    """

    @tf.function
    def step(phi: Tensors, theta: Tensors, tensors: tuple, batch: Batch) -> Any:
        def loss(groups: Groups, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            return relaxed(groups, TaskTensors(*tensors), x, y)

        return meta_gradient(loop, loss, phi, theta, batch)

    return step
