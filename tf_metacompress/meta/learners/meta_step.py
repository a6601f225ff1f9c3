"""One compiled meta-step: gradients of several tasks, then one move of the optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import NonFiniteLossError
from tf_metacompress.meta.learners.algorithm import MOMENTUM, Algorithm, Phase, TaskGradient
from tf_metacompress.meta.learners.episode import Episode, accuracy
from tf_metacompress.meta.learners.network import Tensors

METRICS = ("support_loss", "query_loss", "accuracy")


class MetaStep:
    """Takes meta-steps of a compiled learner.

    Args:
        algorithm: The learner, compiled.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self._gradients: dict[Phase, Callable[..., tuple]] = {}
        self._apply = tf.function(self._moved)

    def observe(self, batch: Episode) -> None:
        """Sets activation ranges and statistics for the first time, from the first task."""
        weights, _ = self.algorithm.read()
        x = tf.concat([batch.support_x[0], batch.query_x[0]], 0)
        self.algorithm.network.observe(weights, x, batch.support_x.shape[1], 0.0)

    def __call__(self, batch: Episode, meta_step: int) -> dict[str, float]:
        """Moves the learned variables once.

        Args:
            batch: Tasks, with a leading axis.
            meta_step: Index of the step.

        Returns:
            Means over the tasks of support loss before adaptation, query loss and accuracy after.

        Raises:
            NonFiniteLossError: When a loss or gradient is not finite; nothing has moved then.
        """
        phase = self.algorithm.phase(meta_step)
        num_tasks, chunk = batch.support_x.shape[0], self.algorithm.compiled.tasks_at_once
        total: list[tf.Tensor] | None = None
        metrics = []
        for begin in range(0, num_tasks, chunk):
            part = Episode(*(half[begin : begin + chunk] for half in batch))
            gradients, norm, values, seen = self._gradient(phase)(part, tf.constant(phase.progress))
            metrics.append(values.numpy())
            _check_finite(metrics[-1], float(norm), begin, meta_step)
            if total is None:
                total = gradients
            else:
                total = [a + b for a, b in zip(total, gradients, strict=True)]
        self._apply(total, tf.constant(float(num_tasks)), seen)
        means = np.concatenate(metrics).mean(0)
        return {name: float(mean) for name, mean in zip(METRICS, means, strict=True)}

    def _moved(
        self, gradients: Sequence[tf.Tensor], num_tasks: tf.Tensor, seen: Sequence[tf.Tensor]
    ) -> None:
        self.algorithm.network.keep(seen)
        means = [gradient / tf.cast(num_tasks, gradient.dtype) for gradient in gradients]
        self.algorithm.compiled.optimizer.apply(means, self.algorithm.variables)

    def _gradient(self, phase: Phase) -> Callable[..., tuple]:
        key = replace(phase, progress=1.0)
        if key not in self._gradients:
            jit_compile = self.algorithm.compiled.jit_compile
            self._gradients[key] = tf.function(
                lambda batch, progress: self._summed(batch, replace(key, progress=progress)),
                jit_compile=jit_compile,
                autograph=False,
            )
        return self._gradients[key]

    def _summed(self, batch: Episode, phase: Phase) -> tuple[list[tf.Tensor], ...]:
        """Sum of all tasks' gradients, its norm, each task's metrics, what the last one showed."""
        algorithm = self.algorithm
        weights, extras = algorithm.read()
        tasks = [Episode(*halves) for halves in zip(*map(tf.unstack, batch), strict=True)]
        one = _traced_once(algorithm, phase)
        found = [one(weights, extras, task, phase.progress) for task in tasks]
        seen = []
        if algorithm.network.observes:
            task = tasks[-1]
            x = tf.concat([task.support_x, task.query_x], 0)
            num_support = task.support_x.shape[0]
            seen = algorithm.network.seen(found[-1].weights, x, num_support, MOMENTUM)
        metrics = [
            (result.support_loss, result.query_loss, accuracy(labels, result.outputs))
            for result, labels in zip(found, (task.query_y for task in tasks), strict=True)
        ]
        sums = [tf.add_n(parts) for parts in zip(*(r.gradients for r in found), strict=True)]
        # What the task showed is in it too, since it may overflow where the losses do not.
        norm = tf.linalg.global_norm([*sums, *(tf.cast(value, sums[0].dtype) for value in seen)])
        values = tf.stack([[tf.cast(v, tf.float32) for v in row] for row in metrics])
        return sums, norm, values, seen


def _traced_once(algorithm: Algorithm, phase: Phase) -> Callable[..., TaskGradient]:
    """The gradient of a task as a function whose Python runs once, however many tasks there are.

    TensorFlow inlines it at each call, so that operations of different tasks run side by side.
    """
    loss = algorithm.compiled.loss

    @tf.function(autograph=False)
    def computed(weights: Tensors, extras: Tensors, task: Episode, progress: tf.Tensor) -> dict:
        at_present = replace(phase, progress=progress)
        return vars(algorithm.task_gradient(loss, weights, extras, task, at_present))

    return lambda *arguments: TaskGradient(**computed(*arguments))


def _check_finite(metrics: np.ndarray, norm: float, begin: int, meta_step: int) -> None:
    wrong = np.flatnonzero(~np.isfinite(metrics[:, :2]).all(1))
    if not len(wrong) and np.isfinite(norm):
        return
    task = begin + int(wrong[0]) if len(wrong) else None
    received = f"gradients and ranges of norm {norm}"
    if len(wrong):
        support_loss, query_loss, _ = metrics[wrong[0]]
        received = f"support_loss={support_loss}, query_loss={query_loss} of task {task}"
    raise NonFiniteLossError(
        f"A loss and its gradient must stay finite. Received: {received} at meta-step {meta_step}. "
        "Lower inner_lr or the learning rate; the weights are those before this step.",
        meta_step=meta_step,
        task=task,
    )


def mean_logs(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means of the metrics of several meta-steps, without those that do not apply."""
    keys = [key for key in METRICS if all(np.isfinite(row[key]) for row in rows)]
    return {key: float(np.mean([row[key] for row in rows])) for key in keys}


def callback_list(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: int,
    steps: int,
    verbose: int,
) -> keras.callbacks.CallbackList:
    """Makes the callbacks of a meta-training, the history and a progress bar among them.

    Keras looks for the better direction of a monitored metric among those that a model was compiled
    with; this one was not, so it is said here.
    """
    model.stop_training = False
    for callback in callbacks:
        if getattr(callback, "mode", None) == "auto":
            callback.mode = "max" if str(callback.monitor).endswith("accuracy") else "min"
    return keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=bool(verbose),
        model=model,
        epochs=epochs,
        steps=steps,
        verbose=verbose,
    )
