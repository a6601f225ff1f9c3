"""What was removed from a model, what was left, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GroupRemoval:
    """What became of one channel group.

    Attributes:
        layers: Paths of the layers that make its channels.
        channels_before: Channels it had.
        channels_after: Channels it has.
        sparsity: Fraction of its channels that was asked for.
        reason: Why fewer went than were asked for; empty when as many went.
    """

    layers: tuple[str, ...]
    channels_before: int
    channels_after: int
    sparsity: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        """Prints one line."""
        counts = f"{self.channels_before} -> {self.channels_after} channels"
        return f"{' + '.join(self.layers)}: {counts}{': ' if self.reason else ''}{self.reason}"


@dataclass(frozen=True, kw_only=True)
class RemovalReport:
    """What `remove_channels` did.

    Attributes:
        groups: One entry for each group that channels were to be removed from.
        params_before: Weights of the model, all counted.
        params_after: Weights of the smaller model.
        macs_before: Multiply-accumulates of one example.
        macs_after: The same for the smaller model.
        gap: Largest difference between the smaller model and the masked one, relative to the scale
            of the outputs; NaN when it was not measured.

    Example:
        >>> removal = GroupRemoval(layers=("conv",), channels_before=16, channels_after=8)
        >>> print(removal)
        conv: 16 -> 8 channels
    """

    groups: tuple[GroupRemoval, ...]
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    gap: float = float("nan")

    @property
    def left(self) -> tuple[GroupRemoval, ...]:
        """The groups from which fewer channels went than were asked for."""
        return tuple(group for group in self.groups if group.reason)

    def __str__(self) -> str:
        """Prints the totals and one line a group."""
        params = f"{self.params_before:,} -> {self.params_after:,} weights"
        macs = f"{self.macs_before:,} -> {self.macs_after:,} multiply-accumulates"
        return "\n".join([f"{params}, {macs}", *(f"  {group}" for group in self.groups)])
