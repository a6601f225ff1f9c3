"""One call of the graph as its rule sees it, and the registry of rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_metacompress.anatomy.channels.ledger import EXTENT, Flow, Labels, Ledger, Slot
from tf_metacompress.layer_tree import weight_of
from tf_metacompress.policy.channel_group import INPUT, OUTPUT, STATE

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Visit:
    """One call.

    Attributes:
        ledger: Where to note what the call does to channels.
        path: Path of the operation within the model.
        operation: The layer or plain operation.
        flows: The tensors it takes.
        arguments: Its positional arguments: constants, and a Flow for every tensor.
        shape: Shape of its result; None where it is not known.
    """

    ledger: Ledger
    path: str
    operation: Any
    flows: tuple[Flow, ...]
    arguments: tuple[Any, ...]
    shape: Shape | None

    @property
    def label(self) -> str:
        """Path and class, for reasons."""
        return f"{self.path} ({type(self.operation).__name__})"

    def stop(self, reason: str) -> Flow:
        """Follows no further: what came in must stay whole.

        Args:
            reason: Why, one line, without the layer's name.

        Returns:
            A result whose channels are not followed.
        """
        for flow in self.flows:
            self.ledger.pin(flow, f"{self.label} {reason}")
        return Flow(self.shape)

    def made(self, size: int) -> Labels:
        """The channels that this layer makes."""
        return self.ledger.produced(self.path, size)

    def read(self, axis: int, size: int) -> Labels:
        """The channels that this layer reads along an axis of its only input."""
        return self.ledger.read(self.flows[0], axis, size, self.label)

    def makes(self, weight: str, axis: int, labels: Labels, is_kernel: bool = True) -> None:
        """Notes a weight that makes channels."""
        self._weight(weight, axis, labels, OUTPUT, is_kernel)

    def reads(self, weight: str, axis: int, labels: Labels) -> None:
        """Notes a weight that reads channels."""
        self._weight(weight, axis, labels, INPUT)

    def along(self, weight: str, axis: int, labels: Labels, role: str = STATE) -> None:
        """Notes a weight with one value a channel."""
        self._weight(weight, axis, labels, role)

    def _weight(
        self, weight: str, axis: int, labels: Labels, role: str, is_kernel: bool = False
    ) -> None:
        variable = weight_of(self.operation, weight)
        if variable is None:
            return
        axis %= len(variable.shape)
        self.ledger.hold(Slot(self.path, weight, axis, labels, role, is_kernel))

    def extent(self, key: str, labels: Labels, index: int = -1) -> None:
        """Notes a number in the layer's config that counts channels."""
        self.ledger.hold(Slot(self.path, key, index, labels, EXTENT))

    def follow(self, axis: int, labels: Labels, zero: Any, dead: Any) -> Flow:
        """The result, its channels followed along an axis."""
        size = len(labels)
        flags = (np.broadcast_to(np.asarray(flag, bool), (size,)) for flag in (zero, dead))
        return Flow(self.shape, axis, labels, *flags)

    def passed(
        self, flow: Flow, zero: Any = None, dead: Any = None, axis: int | None = None
    ) -> Flow:
        """The result, its channels those of an input."""
        return self.follow(
            flow.axis if axis is None else axis,
            flow.labels,
            flow.zero if zero is None else zero,
            flow.dead if dead is None else dead,
        )


Rule = Callable[[Visit], Flow]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers how channels pass through operations of Keras with these class names.

    Args:
        *names: Class names, of layers and of plain operations.

    Returns:
        A decorator.
    """

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def rule_of(operation: Any) -> Rule | None:
    """Finds the rule of an operation; only classes of Keras itself have one.

    Args:
        operation: A layer or plain operation.

    Returns:
        Its rule, or None.
    """
    is_keras = type(operation).__module__.partition(".")[0] == "keras"
    return RULES.get(type(operation).__name__) if is_keras else None
