"""Fast at first, then ever slower."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tf_metacompress.errors import check_fraction, check_positive, invalid
from tf_metacompress.schedules.steps import check_steps, is_update_step


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
        check_steps(self)
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
        return is_update_step(self, step), fraction

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "PolynomialSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)
