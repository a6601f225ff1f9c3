"""The outer loop: meta-steps, callbacks, checkpoints."""

from collections.abc import Sequence

import keras

from tf_metacompress.controller import PruningController
from tf_metacompress.meta.learners.algorithm import Algorithm
from tf_metacompress.meta.learners.batches import episodes
from tf_metacompress.meta.learners.checkpoint import restore, save
from tf_metacompress.meta.learners.evaluation import evaluate
from tf_metacompress.meta.learners.meta_step import MetaStep, callback_list, mean_logs
from tf_metacompress.schedules import PolynomialSparsity
from tf_metacompress.tasks import TaskSampler

_UPDATES = 20
_VALIDATION_TASKS = 50


class MetaTraining:
    """One run of `fit`.

    Args:
        algorithm: The learner, compiled.
        sampler: Gives the task of an index.
        meta_steps: Meta-steps to have taken in the end.
        steps_per_epoch: Meta-steps between calls of `on_epoch_end`.
        checkpoint: File to go on from and to write after each epoch; None for none.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        sampler: TaskSampler,
        meta_steps: int,
        steps_per_epoch: int,
        checkpoint: str | None,
    ) -> None:
        self.algorithm = algorithm
        self.sampler = sampler
        self.meta_steps = meta_steps
        self.steps_per_epoch = steps_per_epoch
        self.checkpoint = checkpoint
        self._step = algorithm.traced("meta_step", lambda: MetaStep(algorithm))
        self._controller: PruningController | None = None

    def run(
        self,
        validation: TaskSampler | None,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: int,
    ) -> keras.callbacks.History:
        """Trains to the end, or until a callback says stop.

        Args:
            validation: Tasks to evaluate on after each epoch; None for none.
            callbacks: Keras callbacks.
            verbose: As in `keras.Model.fit`.

        Returns:
            The history.
        """
        algorithm, model = self.algorithm, self.algorithm.model
        if self.checkpoint is not None:
            restore(self.checkpoint, algorithm)
        self._begin()
        epochs = -(-self.meta_steps // self.steps_per_epoch)
        steps = min(self.steps_per_epoch, self.meta_steps)
        listed = callback_list(model, callbacks, epochs, steps, verbose)
        # Keras's callbacks reach the learning rate through the model.
        model.optimizer = algorithm.compiled.optimizer
        listed.on_train_begin()
        logs: dict[str, float] = {}
        while algorithm.meta_step < self.meta_steps and not model.stop_training:
            epoch = algorithm.meta_step // self.steps_per_epoch
            listed.on_epoch_begin(epoch)
            logs = self._epoch(listed)
            if validation is not None:
                logs |= self._validate(validation)
            if self.checkpoint is not None:
                save(self.checkpoint, algorithm)
            listed.on_epoch_end(epoch, logs)
        if self._controller is not None and algorithm.meta_step >= self.meta_steps:
            self._controller.finalize()
        listed.on_train_end(logs)
        return model.history

    def _begin(self) -> None:
        """Brings masks and ranges to where training starts or goes on."""
        algorithm = self.algorithm
        network = algorithm.network
        if any(compressor.follows_schedule for compressor in network.compressors):
            end_step = algorithm.traced("end of pruning", lambda: max(self.meta_steps // 2, 1))
            schedule = algorithm.compiled.pruning_schedule or PolynomialSparsity(
                end_step=end_step, frequency=max(end_step // _UPDATES, 1)
            )
            self._controller = PruningController(network.compressors, schedule)
            if algorithm.meta_step:
                self._controller.resume(algorithm.meta_step)
            else:
                self._controller.on_train_begin()
        if network.observes and not algorithm.meta_step:
            self._step.observe(episodes(self.sampler, self._indices(0), network))

    def _indices(self, meta_step: int) -> range:
        size = self.algorithm.compiled.meta_batch_size
        return range(meta_step * size, (meta_step + 1) * size)

    def _epoch(self, listed: keras.callbacks.CallbackList) -> dict[str, float]:
        algorithm = self.algorithm
        rows = []
        left = self.meta_steps - algorithm.meta_step
        begin = algorithm.meta_step % self.steps_per_epoch
        for batch in range(begin, min(begin + left, self.steps_per_epoch)):
            listed.on_train_batch_begin(batch)
            rows.append(self._one())
            algorithm.meta_step += 1
            listed.on_train_batch_end(batch, mean_logs(rows))
            if algorithm.model.stop_training:
                break
        return mean_logs(rows)

    def _one(self) -> dict[str, float]:
        meta_step = self.algorithm.meta_step
        if self._controller is not None:
            self._controller.on_step(meta_step)
        batch = episodes(self.sampler, self._indices(meta_step), self.algorithm.network)
        return self._step(batch, meta_step)

    def _validate(self, validation: TaskSampler) -> dict[str, float]:
        score = evaluate(self.algorithm, validation, _VALIDATION_TASKS, self.algorithm.inner_steps)
        logs = {"val_query_loss": score.loss}
        if score.accuracy == score.accuracy:
            logs["val_accuracy"] = score.accuracy
        return logs
