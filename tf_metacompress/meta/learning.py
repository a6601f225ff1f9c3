"""How a compressor learns from many tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import tensorflow as tf

from tf_metacompress.errors import check_int
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.meta_training import MetaTraining, Outer, TrainingState
from tf_metacompress.meta.variety import varied_tasks
from tf_metacompress.policy import Action
from tf_metacompress.progress import progress
from tf_metacompress.tasks import Task

History = dict[str, list[float]]


class LearnsFromTasks(ABC):
    """The learning side of a `MetaCompressor`: second-order MAML over tasks."""

    phi: tuple[tf.Tensor, ...]
    num_heads: int
    actions: tuple[Action, ...]
    inner_loop: InnerLoop
    temperature: float
    seed: int
    meta_steps: int
    card: dict[str, Any] | None

    @abstractmethod
    def with_phi(self, phi: Sequence[tf.Tensor]) -> Self:
        """Gives a compressor like this one with other weights of Φ."""

    def compiler(self, *, first_order: bool = False) -> TaskCompiler:
        """Gives what makes tasks ready for this compressor.

        Args:
            first_order: For tasks that no second-order gradient is taken through, which leaves any
                layer to their models.

        Returns:
            A new compiler.
        """
        loop = replace(self.inner_loop, first_order=True) if first_order else self.inner_loop
        return TaskCompiler(self.actions, self.temperature, loop)

    def fit(
        self,
        tasks: Sequence[Task],
        meta_steps: int,
        *,
        meta_batch_size: int = 4,
        meta_lr: float = 3e-3,
        batch_size: int = 128,
        quiet: bool = True,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> History:
        """Meta-trains Φ over tasks by second-order MAML.

        Args:
            tasks: Tasks to learn from; tasks on one architecture share a compiled step.
            meta_steps: Outer steps.
            meta_batch_size: Tasks in each.
            meta_lr: Learning rate of the outer Adam.
            batch_size: Examples drawn from support and query in each step.
            quiet: Without a progress bar.
            on_step: Called after each step with its index and metrics.

        Returns:
            support_loss, query_loss and gradient_norm of each step.

        Raises:
            InvalidArgumentError: When there are no tasks.
            SecondOrderGradientError: When a model's second-order gradients would be wrong.
            NonFiniteLossError: When a loss becomes infinite or NaN; Φ stays as it was.
        """
        check_int("meta_steps", meta_steps, minimum=1)
        outer = Outer(
            meta_batch_size=meta_batch_size, meta_lr=meta_lr, batch_size=batch_size, seed=self.seed
        )
        training = self.training(tasks, outer, quiet=quiet)
        history: History = {"support_loss": [], "query_loss": [], "gradient_norm": []}
        for step in progress(range(meta_steps), description="meta-train", quiet=quiet):
            metrics = training.step()
            for key, value in metrics.items():
                history[key].append(value)
            if on_step is not None:
                on_step(step, metrics)
        self.phi, self.meta_steps = training.phi, self.meta_steps + meta_steps
        self.card = None
        return history

    def training(
        self, tasks: Sequence[Task], outer: Outer | None = None, *, quiet: bool = True
    ) -> MetaTraining:
        """Prepares meta-training that the caller steps, saves and goes on with; see `fit`.

        Args:
            tasks: Tasks to learn from.
            outer: How the outer loop steps; None for the defaults and this compressor's seed.
            quiet: Without a progress bar while the tasks are read.

        Returns:
            The training. Hand what it has learned back with `at`.
        """
        compiler = self.compiler()
        read = progress(tasks, description="read tasks", quiet=quiet)
        prepared = varied_tasks(map(compiler.prepare, read), self.seed, self.num_heads)
        return MetaTraining(prepared, self.phi, outer or Outer(seed=self.seed))

    def at(self, state: TrainingState) -> Self:
        """Gives the compressor that a state of its training has reached.

        Args:
            state: A state of `training`.

        Returns:
            A new compressor; this one stays as it is.
        """
        reached = self.with_phi(state.meta.phi)
        reached.meta_steps = self.meta_steps + state.meta.meta_step
        return reached
