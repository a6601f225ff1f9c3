"""Runs pruning over the steps of a training, whoever drives the steps."""

from collections.abc import Sequence

from tf_metacompress.schedules import SparsitySchedule
from tf_metacompress.wrappers import LayerCompressor


class PruningController:
    """Moves the masks of a model along a schedule.

    The callbacks drive it in `fit`; a hand-written training loop calls the three methods itself.

    Args:
        compressors: What acts on the layers, such as `student.compressors`.
        schedule: Step to (whether to update, share of the target reached).
    """

    def __init__(self, compressors: Sequence[LayerCompressor], schedule: SparsitySchedule) -> None:
        self.compressors = tuple(compressor for compressor in compressors if compressor.masks)
        self.schedule = schedule
        self.step = 0

    def on_train_begin(self) -> None:
        """Sets the masks to where the schedule starts."""
        self.step = 0
        self._update(self.schedule(0)[1])

    def on_step(self, step: int | None = None) -> None:
        """Updates the masks if the schedule says so, before a training step.

        Args:
            step: Index of the step about to run, from 0. None counts by itself.
        """
        self.step = self.step + 1 if step is None else step
        should_update, fraction = self.schedule(self.step)
        if should_update:
            self._update(fraction)

    def finalize(self) -> None:
        """Sets the masks to the full target, however many steps there were."""
        self._update(1.0)

    def _update(self, fraction: float) -> None:
        for compressor in self.compressors:
            compressor.update_masks(fraction)
