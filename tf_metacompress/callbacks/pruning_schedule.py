"""Pruning that grows during `fit`."""

from typing import Any

import keras

from tf_metacompress.controller import PruningController
from tf_metacompress.errors import wrong_type
from tf_metacompress.schedules import PolynomialSparsity, as_schedule
from tf_metacompress.wrappers import CompressedModel


class PruningSchedule(keras.callbacks.Callback):
    """Moves a student's masks from dense to the policy's sparsity while it trains.

    Steps are those of the optimizer, so a training resumed by `BackupAndRestore`, or continued by a
    second `fit`, goes on where it was; compiling anew starts over.

    Args:
        schedule: A schedule of this package, or one of tfmot, of which only the shape is used:
            each layer's target stays that of the policy. None for the cubic one, from
            `begin_step` to `end_step`.
        begin_step: Step at which the masks start to grow.
        end_step: Step at which they reach their targets.
        frequency: Steps between updates.

    Raises:
        ArgumentTypeError: When used with a model that did not come from `compress`.

    Example:
        >>> callback = PruningSchedule(begin_step=0, end_step=500, frequency=50)
        >>> callback.schedule(500)
        (True, 1.0)
    """

    def __init__(
        self,
        schedule: Any = None,
        *,
        begin_step: int = 0,
        end_step: int = 1000,
        frequency: int = 100,
    ) -> None:
        super().__init__()
        if schedule is None:
            schedule = PolynomialSparsity(
                begin_step=begin_step, end_step=end_step, frequency=frequency
            )
        self.schedule = as_schedule(schedule)
        self._controller: PruningController | None = None
        self._is_set = False
        self._epoch_begin = 0

    @property
    def step(self) -> int:
        """Index of the next training step."""
        return self._controller.step + 1 if self._controller else 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks the model."""
        if not isinstance(self.model, CompressedModel):
            raise wrong_type(
                "PruningSchedule works on a model made by `compress`.",
                "Use the MetaCompress callback to compress a plain model in place.",
                model=self.model,
            )
        self._controller = PruningController(self.model.compressors, self.schedule)
        self._is_set = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where the epoch begins; the first sets the masks to where the schedule is."""
        self._epoch_begin = int(self.model.optimizer.iterations.numpy())
        if not self._is_set:
            self._controller.on_train_begin(self._epoch_begin)
            self._is_set = True

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the masks when the schedule says so."""
        self._controller.on_step(self._epoch_begin + batch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Sets the masks to their targets, should training have ended before the schedule."""
        self._controller.finalize()
