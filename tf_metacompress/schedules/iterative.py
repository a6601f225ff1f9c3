"""Prune, recover, prune again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tf_metacompress.errors import check_int


@dataclass(frozen=True, kw_only=True)
class IterativeSparsity:
    """Raises the sparsity in equal rounds, with training on fixed masks in between.

    Paper: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural
    Networks", 2015, arXiv:1506.02626.

    Attributes:
        num_rounds: Rounds of pruning; the last one reaches the target.
        steps_per_round: Training steps from one to the next, for the network to recover.
        begin_step: Step of the first round.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> schedule = IterativeSparsity(num_rounds=4, steps_per_round=50)
        >>> schedule(0), schedule(49), schedule(50), schedule(150)
        ((True, 0.25), (False, 0.25), (True, 0.5), (True, 1.0))
    """

    num_rounds: int = field()
    steps_per_round: int = field()
    begin_step: int = 0

    def __post_init__(self) -> None:
        """Checks the counts."""
        check_int("num_rounds", self.num_rounds, 1)
        check_int("steps_per_round", self.steps_per_round, 1)
        check_int("begin_step", self.begin_step, 0)

    @property
    def end_step(self) -> int:
        """Step of the last round, from which on the target is reached."""
        return self.begin_step + (self.num_rounds - 1) * self.steps_per_round

    def __call__(self, step: int) -> tuple[bool, float]:
        """Gives `(should_update, fraction)` at a training step."""
        if step < self.begin_step:
            return False, 0.0
        rounds, within = divmod(step - self.begin_step, self.steps_per_round)
        return within == 0 and step <= self.end_step, min((rounds + 1) / self.num_rounds, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make an equal schedule."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "IterativeSparsity":
        """Makes a schedule from what `get_config` gave."""
        return cls(**config)
