"""Channels of several layers that can only be removed together, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUTPUT, INPUT, STATE = "output", "input", "state"


@dataclass(frozen=True, kw_only=True)
class ChannelMember:
    """One weight that holds a part of each channel of a group.

    Attributes:
        layer: Path of the layer.
        weight: Attribute of the weight, such as "kernel", "bias" or "gamma".
        axis: The axis cut when channels are removed.
        positions: For each channel of the group, where it lies along the axis. Most often one
            position; several behind Flatten or a depthwise multiplier; none where the channel
            does not reach this weight.
        role: "output" for weights that make the channel (all zero: the channel is zero), "input"
            for weights that read it, "state" for what is merely cut along.
        is_kernel: Whether its magnitude says how much the channel matters.
    """

    layer: str
    weight: str
    axis: int
    positions: tuple[tuple[int, ...], ...]
    role: str
    is_kernel: bool = False


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels made by the same layers, each of which can be removed from all of them at once.

    Attributes:
        size: Number of channels.
        members: The weights cut when a channel goes.
        producers: Paths of the layers whose output channels are cut.
        consumers: Paths of the layers whose input channels are cut.
        width: Output channels of a producer that one channel of the group stands for; 1 but for
            grouped convolutions and tensors joined with a part of themselves.
        reason: Why the group cannot be cut, in one line; empty when it can.

    Example:
        >>> group = ChannelGroup(size=8, members=(), producers=("conv1", "conv2"), consumers=())
        >>> group.removable, group.name
        (True, 'conv1 + conv2')
    """

    size: int
    members: tuple[ChannelMember, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    width: int = 1
    reason: str = ""

    @property
    def removable(self) -> bool:
        """Whether any of its channels can be removed; at least one always stays."""
        return not self.reason and self.size > 1

    @property
    def name(self) -> str:
        """The producers, for people."""
        return " + ".join(self.producers)


def group_from_dict(fields: Mapping[str, Any]) -> ChannelGroup:
    """Makes a group from what `dataclasses.asdict` gives, lists in the place of tuples allowed.

    Args:
        fields: The fields of a group.

    Returns:
        The group.

    Example:
        >>> import dataclasses
        >>> group = ChannelGroup(size=2, members=(), producers=("a",), consumers=("b",))
        >>> group_from_dict(dataclasses.asdict(group)) == group
        True
    """
    members = tuple(
        ChannelMember(**{**member, "positions": tuple(map(tuple, member["positions"]))})
        for member in fields["members"]
    )
    layers = {key: tuple(fields[key]) for key in ("producers", "consumers")}
    return ChannelGroup(**{**fields, **layers, "members": members})
