"""All at once, and never again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tf_metacompress.errors import check_int


@dataclass(frozen=True, kw_only=True)
class OneShotSparsity:
    """Reaches the target in one update and leaves the masks alone afterwards.

    Attributes:
        begin_step: The step of that update.

    Raises:
        InvalidArgumentError: If it is negative.

    Example:
        >>> schedule = OneShotSparsity(begin_step=10)
        >>> schedule(9), schedule(10), schedule(11)
        ((False, 0.0), (True, 1.0), (False, 1.0))
    """

    begin_step: int = 0

    def __post_init__(self) -> None:
        """Checks the step."""
        check_int("begin_step", self.begin_step, 0)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        return step == self.begin_step, float(step >= self.begin_step)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "OneShotSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)
