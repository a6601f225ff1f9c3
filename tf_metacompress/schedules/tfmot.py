"""Schedules of tensorflow-model-optimization, read without importing it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tf_metacompress.errors import check_fraction, check_int, invalid, wrong_type
from tf_metacompress.schedules.steps import NO_END, SparsitySchedule


@dataclass(frozen=True, kw_only=True)
class TfmotSparsity:
    """A pruning schedule of tensorflow-model-optimization, read as shares of its final sparsity.

    Its update steps are its own; `from_tfmot` makes it. It cannot be rebuilt from its config
    without that package, so it has no `from_config`.

    Attributes:
        schedule: The tfmot object.
        final_sparsity: Sparsity at which the share is 1, in (0, 1).
        begin_step: First step that prunes.
        end_step: Last step that prunes, or -1 for no end.
        frequency: Steps between two updates.
    """

    schedule: Callable[[int], tuple[Any, Any]]
    final_sparsity: float
    begin_step: int
    end_step: int
    frequency: int

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        should_update, sparsity = self.schedule(step)
        if step < self.begin_step:
            return bool(should_update), 0.0
        return bool(should_update), min(max(float(sparsity) / self.final_sparsity, 0.0), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Gives the config of the tfmot object."""
        return dict(self.schedule.get_config())


def from_tfmot(schedule: Any) -> TfmotSparsity:
    """Reads a schedule object of tensorflow-model-optimization, without importing that package.

    Args:
        schedule: A `tfmot.sparsity.keras.PruningSchedule`: callable with a step, giving a bool and
            a sparsity, and with a `get_config` that names `final_sparsity` or `target_sparsity`.

    Returns:
        The schedule as shares of its final sparsity.

    Raises:
        ArgumentTypeError: If the object is not of that kind.
        InvalidArgumentError: If its config does not name a final sparsity in (0, 1).
    """
    if not callable(schedule) or not callable(getattr(schedule, "get_config", None)):
        raise wrong_type("`schedule` must be a tfmot pruning schedule.", schedule=schedule)
    whole = schedule.get_config()
    config = whole.get("config", whole)
    final = config.get("final_sparsity", config.get("target_sparsity"))
    if check_fraction("final_sparsity", final) == 0.0:
        raise invalid("The final sparsity of a tfmot schedule must be above 0.", schedule=config)
    return TfmotSparsity(
        schedule=schedule,
        final_sparsity=float(final),
        begin_step=check_int("begin_step", config.get("begin_step", 0)),
        end_step=check_int("end_step", config.get("end_step", NO_END)),
        frequency=check_int("frequency", config.get("frequency", 100)),
    )


def as_schedule(schedule: Any) -> SparsitySchedule:
    """Takes a schedule of this package, one of tfmot, or a function of the user's.

    Args:
        schedule: Callable with a step. Of a tfmot object, known by a config that names a
            `final_sparsity` or `target_sparsity`, the shape is taken; anything else must return
            `(should_update, fraction)`.

    Returns:
        A schedule in shares of the target.

    Raises:
        ArgumentTypeError: If the object is not callable.
    """
    if not callable(schedule):
        raise wrong_type("`schedule` must be callable with a step.", schedule=schedule)
    if isinstance(schedule, TfmotSparsity) or not hasattr(schedule, "get_config"):
        return schedule
    config = schedule.get_config()
    config = config.get("config", config)
    names_target = "final_sparsity" in config or "target_sparsity" in config
    return from_tfmot(schedule) if names_target else schedule
