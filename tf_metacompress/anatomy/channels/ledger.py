"""What is learnt of channels while a graph is walked: who holds them, who ties them together."""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from tf_metacompress.policy import channel_group as roles

Labels = np.ndarray


@dataclass(frozen=True)
class Flow:
    """A tensor on its way through the graph.

    Attributes:
        shape: Its shape; None where it is not known.
        axis: The axis whose channels are followed; None when they are not.
        labels: The channel at each position of that axis.
        zero: Whether a position is zero once the weights that make the channel are zero.
        dead: Whether a position is zero as the weights are now.
    """

    shape: tuple[int | None, ...] | None
    axis: int | None = None
    labels: Labels | None = None
    zero: np.ndarray | None = None
    dead: np.ndarray | None = None

    @property
    def followed(self) -> bool:
        """Whether it has channels that may be cut."""
        return self.labels is not None


@dataclass(frozen=True)
class Slot:
    """A weight along one axis, or a number in a config that counts channels.

    Attributes:
        path: Path of the layer.
        attribute: Weight attribute, or key of the config.
        axis: Axis of the weight, or index into the config's value; −1 for the value itself.
        labels: The channel at each position.
        role: As in `ChannelMember`; "extent" for a number in a config.
        is_kernel: As in `ChannelMember`.
    """

    path: str
    attribute: str
    axis: int
    labels: Labels
    role: str
    is_kernel: bool = False


EXTENT = "extent"


@dataclass
class Ledger:
    """Labels handed out, ties between them, and what must stay."""

    count: int = 0
    slots: dict[tuple[str, str, int], Slot] = field(default_factory=dict)
    made: dict[str, Labels] = field(default_factory=dict)
    ties: list[tuple[Labels, Labels]] = field(default_factory=list)
    pins: list[tuple[Labels, str]] = field(default_factory=list)
    alive: list[Labels] = field(default_factory=list)

    def fresh(self, size: int) -> Labels:
        """Hands out new labels."""
        self.count += size
        return np.arange(self.count - size, self.count)

    def produced(self, path: str, size: int) -> Labels:
        """The channels that a layer makes; the same at each of its calls."""
        if path not in self.made:
            self.made[path] = self.fresh(size)
        return self.made[path]

    def tie(self, one: Labels, other: Labels) -> None:
        """Notes that channels can only go together."""
        self.ties.append((one, other))

    def pin(self, flow: Flow, reason: str) -> None:
        """Notes that no channel of a tensor can go."""
        if flow.followed:
            self.pins.append((flow.labels, reason))

    def hold(self, slot: Slot) -> None:
        """Notes where channels lie; a layer called twice has one weight for both calls."""
        key = (slot.path, slot.attribute, slot.axis)
        known = self.slots.setdefault(key, slot)
        if known is not slot:
            self.tie(known.labels, slot.labels)

    def read(self, flow: Flow, axis: int, size: int, path: str) -> Labels:
        """Notes that a layer reads a tensor along an axis.

        Args:
            flow: The tensor.
            axis: The axis read.
            size: Its extent.
            path: Path of the layer, for reasons.

        Returns:
            The channel at each position; channels that stay when they are not followed.
        """
        if not flow.followed or flow.axis != axis:
            self.pin(flow, f"{path} reads another axis than that of the channels")
            labels = self.fresh(size)
            self.pins.append((labels, f"{path} reads a tensor whose channels are not followed"))
            return labels
        leaking = flow.labels[~flow.zero]
        if leaking.size:
            reason = f"{path} reads it after a function that is not zero at zero"
            self.pins.append((leaking, reason))
        self.alive.append(flow.labels[~flow.dead])
        return flow.labels

    def classes(self) -> np.ndarray:
        """Gives each label the number of its class: labels of one class go together."""
        if not self.ties:
            return np.arange(self.count)
        one, other = (np.concatenate(ends) for ends in zip(*self.ties, strict=True))
        edges = sparse.coo_array((np.ones(one.size), (one, other)), (self.count, self.count))
        return sparse.csgraph.connected_components(edges, directed=False)[1]


__all__ = ["EXTENT", "Flow", "Labels", "Ledger", "Slot", "roles"]
