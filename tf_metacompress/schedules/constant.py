"""The whole target from the first step on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tf_metacompress.schedules.steps import NO_END, check_steps, is_update_step


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
        check_steps(self)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        return is_update_step(self, step), 0.0 if step < self.begin_step else 1.0

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ConstantSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)
