"""When pruning advances during training, and how far.

A schedule maps a training step to `(should_update, fraction)`: whether the masks are renewed at
this step, and the share of each layer's target sparsity reached, in [0, 1]. Update steps are those
of tensorflow-model-optimization, and the end step besides, so that the target is always reached.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from tf_metacompress.errors import (
    check_fraction,
    check_int,
    check_positive,
    invalid,
    wrong_type,
)

NO_END = -1
"""End step of a schedule that never ends."""


@runtime_checkable
class SparsitySchedule(Protocol):
    """Anything that says when pruning advances and how far."""

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConstantSparsity:
    """Reaches the target at once and renews the masks regularly.

    Attributes:
        begin_step: First step that prunes.
        end_step: Last step that prunes, or -1 for no end.
        frequency: Steps between two updates.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> schedule = ConstantSparsity(begin_step=10, frequency=5)
        >>> schedule(9), schedule(10), schedule(12)
        ((False, 0.0), (True, 1.0), (False, 1.0))
    """

    begin_step: int = 0
    end_step: int = NO_END
    frequency: int = 100

    def __post_init__(self) -> None:
        """Checks the steps."""
        _check_steps(self)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        return _is_update_step(self, step), 0.0 if step < self.begin_step else 1.0

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ConstantSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)


@dataclass(frozen=True, kw_only=True)
class PolynomialSparsity:
    """Approaches the target fast at first, then ever slower.

    Paper: Zhu, Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878, where `power` is 3.

    Attributes:
        begin_step: First step that prunes.
        end_step: Step at which the target is reached, after `begin_step`.
        frequency: Steps between two updates.
        power: Exponent, above 0; 1 is linear.
        initial_fraction: Share of the target at `begin_step` and before, in [0, 1].

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> schedule = PolynomialSparsity(end_step=100, frequency=50)
        >>> schedule(0), schedule(50), schedule(100)
        ((True, 0.0), (True, 0.875), (True, 1.0))
    """

    begin_step: int = 0
    end_step: int = field()
    frequency: int = 100
    power: float = 3.0
    initial_fraction: float = 0.0

    def __post_init__(self) -> None:
        """Checks the steps, the power and the fraction."""
        _check_steps(self)
        if self.end_step <= self.begin_step:
            raise invalid(
                "`end_step` must come after `begin_step`.",
                begin_step=self.begin_step,
                end_step=self.end_step,
            )
        check_positive("power", self.power)
        check_fraction("initial_fraction", self.initial_fraction, upper_inclusive=True)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        passed = (step - self.begin_step) / (self.end_step - self.begin_step)
        remaining = 1.0 - min(max(passed, 0.0), 1.0)
        fraction = 1.0 - (1.0 - self.initial_fraction) * remaining**self.power
        return _is_update_step(self, step), fraction

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "PolynomialSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)


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


def _check_steps(schedule: ConstantSparsity | PolynomialSparsity) -> None:
    begin_step = check_int("begin_step", schedule.begin_step, 0)
    end_step = check_int("end_step", schedule.end_step, NO_END)
    check_int("frequency", schedule.frequency, 1)
    if NO_END < end_step < begin_step:
        raise invalid(
            "`end_step` must not come before `begin_step`.",
            begin_step=begin_step,
            end_step=end_step,
        )


def _is_update_step(schedule: ConstantSparsity | PolynomialSparsity, step: int) -> bool:
    if step == schedule.end_step:
        return True
    begun = step >= schedule.begin_step
    ended = schedule.end_step != NO_END and step > schedule.end_step
    return begun and not ended and (step - schedule.begin_step) % schedule.frequency == 0
