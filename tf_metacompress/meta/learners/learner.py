"""What all meta-learners share: weights to start from, and the face of a Keras model."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tf_metacompress.anatomy import classification_loss
from tf_metacompress.atomic import check_writable
from tf_metacompress.errors import check_int
from tf_metacompress.meta.learners.adaptation import adapted_model, calibrate
from tf_metacompress.meta.learners.algorithm import Algorithm, Compiled
from tf_metacompress.meta.learners.batches import check_sampler
from tf_metacompress.meta.learners.episode import EpisodeLoss
from tf_metacompress.meta.learners.evaluation import MetaScore, evaluate
from tf_metacompress.meta.learners.training import MetaTraining
from tf_metacompress.schedules import SparsitySchedule
from tf_metacompress.tasks import TaskSampler
from tf_metacompress.typing import ArrayPair

Loss = str | keras.losses.Loss | Callable[..., Any]


class MetaLearner(Algorithm):
    """Learns weights that adapt to a new task in a few gradient steps on a few examples.

    Args:
        model: A built Keras 3 model of any kind, an output for each class. It is not changed.
        inner_steps: Gradient steps that adapt to a task, at least 1.
        inner_lr: Length of a step, the learning rate of adaptation.
        batch_norm: Statistics that BatchNormalization layers use: "inference" for the moving ones
            that the model has; "batch" for those of each batch, so that query examples see each
            other; "support" for those of the support set, which can be deployed. All are exact to
            second order.
        policy: Compression to compute with throughout, masks and rounding included, so that the
            learned weights adapt well while compressed; None for none.

    Attributes:
        network: The model as a function of its weights.
        extras: What is learned besides the weights, such as inner rates.
        meta_step: Meta-steps taken.

    Raises:
        InvalidArgumentError: If a number is out of range, or the policy does not fit the model.
        UnsupportedModelError: If the model cannot be trained.
        SecondOrderGradientError: If second-order gradients through a layer would be wrong.
    """

    def compile(
        self,
        optimizer: str | keras.Optimizer = "adam",
        loss: Loss | None = None,
        *,
        inner_loss: Loss | None = None,
        meta_batch_size: int = 4,
        tasks_at_once: int | None = None,
        jit_compile: bool = False,
        pruning_schedule: SparsitySchedule | None = None,
    ) -> "MetaLearner":
        """Says how to meta-train.

        Args:
            optimizer: Any Keras optimizer, or its name; its learning rate is `meta_lr`, and its
                `clipnorm` clips the meta-gradient.
            loss: Of query examples; None for the cross entropy that the model's output suggests.
            inner_loss: Of support examples; None for the same.
            meta_batch_size: Tasks in a meta-step.
            tasks_at_once: Tasks whose graphs are held in memory together; None for all of them.
                One costs the least memory.
            jit_compile: Whether XLA compiles the meta-gradient. It takes long to compile, and is
                often slower with pooling and large images.
            pruning_schedule: How the masks of the policy grow; None for a cubic rise until half of
                the first `fit`.

        Returns:
            This learner.
        """
        optimizer = keras.optimizers.get(optimizer)
        outer = self._resolved(loss)
        self.compiled = Compiled(
            optimizer=optimizer,
            loss=EpisodeLoss(
                self.network, outer if inner_loss is None else self._resolved(inner_loss), outer
            ),
            meta_batch_size=check_int("meta_batch_size", meta_batch_size, minimum=1),
            tasks_at_once=check_int(
                "tasks_at_once",
                meta_batch_size if tasks_at_once is None else tasks_at_once,
                minimum=1,
            ),
            jit_compile=bool(jit_compile),
            pruning_schedule=pruning_schedule,
        )
        optimizer.build(self.variables)
        self._traced.clear()
        return self

    def _resolved(self, loss: Loss | None) -> Callable[..., Any]:
        if loss is None:
            return classification_loss(getattr(self.model, "network", self.model))
        return keras.losses.get(loss)

    def require_compiled(self) -> None:
        """Compiles with the defaults when `compile` was not called."""
        if self.compiled is None:
            self.compile()

    def fit(
        self,
        sampler: TaskSampler,
        *,
        meta_steps: int,
        steps_per_epoch: int = 100,
        validation: TaskSampler | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        checkpoint: str | None = None,
        verbose: int = 1,
    ) -> keras.callbacks.History:
        """Meta-trains.

        Args:
            sampler: Gives the task of each index; see `TaskSampler`.
            meta_steps: Meta-steps to have taken when this returns, those before included.
            steps_per_epoch: Meta-steps between two calls of the callbacks' `on_epoch_end`.
            validation: Tasks to evaluate on after each epoch, 50 of them.
            callbacks: Keras callbacks; metrics are support_loss, query_loss and accuracy.
            checkpoint: File that holds everything after each epoch. When it exists, training goes
                on from it, and ends as it would have without the interruption, bit for bit.
            verbose: 0 shows nothing, 1 a progress bar, 2 a line an epoch.

        Returns:
            The history.

        Raises:
            InvalidArgumentError: If a task does not fit the model.
            NonFiniteLossError: When a loss is not finite; weights and checkpoint stay as they were
                before that step.
        """
        check_int("meta_steps", meta_steps, minimum=1)
        check_int("steps_per_epoch", steps_per_epoch, minimum=1)
        check_sampler("sampler", sampler, self.network)
        if validation is not None:
            check_sampler("validation", validation, self.network)
        if checkpoint is not None:
            check_writable(checkpoint)
        self.require_compiled()
        training = MetaTraining(self, sampler, meta_steps, steps_per_epoch, checkpoint)
        return training.run(validation, callbacks, verbose)

    def adapt(self, support: ArrayPair, inner_steps: int | None = None) -> keras.Model:
        """Adapts the model to a new task.

        Args:
            support: Inputs and labels of a few examples.
            inner_steps: Gradient steps; None for as many as in meta-training.

        Returns:
            A new Keras model: plain, or a student to `finalize` and export when there is a policy.

        Raises:
            InvalidArgumentError: If the examples do not fit the model.
        """
        self.require_compiled()
        return adapted_model(self, support, self._steps(inner_steps))

    def evaluate(
        self, sampler: TaskSampler, num_tasks: int = 600, inner_steps: int | None = None
    ) -> MetaScore:
        """Adapts to many tasks and judges on their query sets.

        Args:
            sampler: Gives the tasks; those of indices 0 to `num_tasks` − 1 are used.
            num_tasks: How many, at least 2.
            inner_steps: Gradient steps; None for as many as in meta-training.

        Returns:
            Means with 95 % intervals.
        """
        check_int("num_tasks", num_tasks, minimum=2)
        check_sampler("sampler", sampler, self.network)
        self.require_compiled()
        return evaluate(self, sampler, num_tasks, self._steps(inner_steps))

    def calibrate(self, sampler: TaskSampler, num_tasks: int = 20) -> "MetaLearner":
        """Sets activation ranges and statistics from tasks, after adapting to each.

        For weights that were meta-trained elsewhere: `fit` does so as it goes.

        Args:
            sampler: Gives the tasks, of classes to train on.
            num_tasks: How many to look at.

        Returns:
            This learner.
        """
        check_int("num_tasks", num_tasks, minimum=1)
        check_sampler("sampler", sampler, self.network)
        self.require_compiled()
        calibrate(self, sampler, num_tasks)
        return self

    def _steps(self, inner_steps: int | None) -> int:
        if inner_steps is None:
            return self.inner_steps
        return check_int("inner_steps", inner_steps, minimum=1)
