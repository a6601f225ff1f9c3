"""What all schedules are: steps at which masks are renewed, and the share of the target there."""

from typing import Any, Protocol, runtime_checkable

from tf_metacompress.errors import check_int, invalid

NO_END = -1
"""End step of a schedule that never ends."""


@runtime_checkable
class SparsitySchedule(Protocol):
    """Anything that says when pruning advances and how far."""

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        ...


def check_steps(schedule: Any) -> None:
    """Checks the steps of a schedule.

    Args:
        schedule: Has `begin_step`, `end_step` and `frequency`.

    Raises:
        InvalidArgumentError: If one is out of its range.
    """
    begin_step = check_int("begin_step", schedule.begin_step, 0)
    end_step = check_int("end_step", schedule.end_step, NO_END)
    check_int("frequency", schedule.frequency, 1)
    if NO_END < end_step < begin_step:
        raise invalid(
            "`end_step` must not come before `begin_step`.",
            begin_step=begin_step,
            end_step=end_step,
        )


def is_update_step(schedule: Any, step: int) -> bool:
    """Says whether masks are renewed at a step: regularly, and at the end.

    Args:
        schedule: Has `begin_step`, `end_step` and `frequency`.
        step: The training step.

    Returns:
        Whether they are.
    """
    if step == schedule.end_step:
        return True
    begun = step >= schedule.begin_step
    ended = schedule.end_step != NO_END and step > schedule.end_step
    return begun and not ended and (step - schedule.begin_step) % schedule.frequency == 0
