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
        self.step = -1

    def on_train_begin(self) -> None:
        """Sets the masks to where the schedule starts."""
        self.step = -1
        self._update(self.schedule(0)[1])

    def on_step(self, step: int | None = None) -> None:
        """Updates the masks if the schedule says so, before a training step.

        Steps may be left out, as Keras does with `steps_per_execution`: an update that fell among
        them is made up for.

        Args:
            step: Index of the step about to run, from 0. None counts by itself.
        """
        last, self.step = self.step, self.step + 1 if step is None else step
        passed = (self.schedule(index) for index in range(last + 1, self.step + 1))
        fractions = [fraction for should_update, fraction in passed if should_update]
        if fractions:
            self._update(fractions[-1])

    def finalize(self) -> None:
        """Sets the masks to the full target, should the steps have ended before the schedule."""
        for compressor in self.compressors:
            compressor.complete_masks()

    def _update(self, fraction: float) -> None:
        for compressor in self.compressors:
            compressor.update_masks(fraction)
