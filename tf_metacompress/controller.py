"""Runs pruning over the steps of a training, whoever drives the steps."""

from collections.abc import Sequence

from tf_metacompress.schedules import SparsitySchedule
from tf_metacompress.wrappers import Compressor


class PruningController:
    """Moves the masks of a model along a schedule.

    The callbacks drive it in `fit`; a hand-written training loop calls the three methods itself. A
    layer whose score looks at gradients or results stays dense until training has shown some.

    Args:
        compressors: What acts on the layers, such as `student.compressors`.
        schedule: Step to (whether to update, share of the target reached).

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="head")])
        >>> student = tmc.compress(model, tmc.Policy([tmc.Rule("head", sparsity=0.5)]))
        >>> schedule = tmc.schedules.PolynomialSparsity(end_step=10, frequency=1)
        >>> controller = PruningController(student.compressors, schedule)
        >>> controller.on_train_begin()
        >>> for step in range(12):
        ...     controller.on_step(step)  # then: gradients, optimizer.apply
        >>> controller.finalize()
        >>> int(np.count_nonzero(student.compressors[0].masks["kernel"]))
        8
    """

    def __init__(self, compressors: Sequence[Compressor], schedule: SparsitySchedule) -> None:
        self.compressors = tuple(c for c in compressors if c.follows_schedule)
        self.schedule = schedule
        self.step = -1
        self._updated_to = -1
        self._fraction = 0.0
        self._waiting: list[Compressor] = []

    def __repr__(self) -> str:
        """Shows what is moved, how, and where it stands."""
        number = len(self.compressors)
        return f"PruningController({number} layers, {self.schedule!r}, step={self.step})"

    def on_train_begin(self, step: int = 0) -> None:
        """Sets the masks to where the schedule starts, or goes on.

        Args:
            step: Index of the first step; above 0 when a training is resumed.
        """
        self.step, self._updated_to = step - 1, step
        self._update(self.schedule(step)[1])

    def resume(self, step: int) -> None:
        """Goes on with the masks as they are, as a checkpoint brought them back.

        Args:
            step: Index of the step about to run.
        """
        self.step = self._updated_to = step - 1
        self._fraction = self.schedule(self.step)[1]

    def on_step(self, step: int | None = None) -> None:
        """Updates the masks if the schedule says so, before a training step.

        Steps may be left out, as Keras does with `steps_per_execution`: an update that fell among
        them is made up for.

        Args:
            step: Index of the step about to run, from 0. None counts by itself.
        """
        self.step = self.step + 1 if step is None else step
        last, self._updated_to = self._updated_to, max(self._updated_to, self.step)
        passed = (self.schedule(index) for index in range(last + 1, self.step + 1))
        fractions = [fraction for should_update, fraction in passed if should_update]
        if fractions:
            self._update(fractions[-1])
        elif self._waiting:
            self._update_waiting()

    def finalize(self) -> None:
        """Sets the masks to the full target, should the steps have ended before the schedule."""
        for compressor in self.compressors:
            compressor.complete_masks()

    def _update(self, fraction: float) -> None:
        self._fraction = fraction
        self._waiting = [c for c in self.compressors if fraction > 0.0 and c.lacks_statistics]
        for compressor in self.compressors:
            compressor.update_masks(0.0 if compressor in self._waiting else fraction)

    def _update_waiting(self) -> None:
        ready = [compressor for compressor in self._waiting if not compressor.lacks_statistics]
        for compressor in ready:
            compressor.update_masks(self._fraction)
            self._waiting.remove(compressor)
