"""Who reads a tensor of a traced graph: a call of a layer, or an operator between the layers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

_SAME_VALUE = ("Identity", "Cast", "StopGradient", "IdentityN")

Key = tuple[int, str]


def key_of(tensor: tf.Tensor) -> Key:
    """Names a tensor among all graphs."""
    return id(tensor.graph), tensor.name


def source_of(tensor: tf.Tensor, known: Mapping[Key, Any]) -> tf.Tensor:
    """Follows casts back to the tensor that a call made.

    Keras casts what goes into a layer to its compute dtype, between the layers.

    Args:
        tensor: What went into a layer.
        known: The tensors that calls made.

    Returns:
        A known tensor if there is one behind nothing but casts, else `tensor`.
    """
    source = tensor
    while key_of(source) not in known and source.op.type in _SAME_VALUE:
        source = source.op.inputs[0]
    return source if key_of(source) in known else tensor


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads a tensor.

    Attributes:
        call: Index of the call that the operator belongs to; None between the layers.
        operator: Type of the operator, such as "Relu".
    """

    call: int | None
    operator: str


@dataclass
class OpOwners:
    """Which call of a layer made which operators of a graph.

    Attributes:
        owners: Name of an operator, within its graph, to the index of the call.
        counts: How many operators of each graph have been looked at.
        graphs: The graphs, kept alive so that their ids stay theirs.
    """

    owners: dict[Key, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    graphs: dict[int, tf.Graph] = field(default_factory=dict)

    def skip(self) -> None:
        """Passes over the operators made since the last look: no call made them."""
        self._take(None)

    def assign(self, call: int) -> None:
        """Gives the operators made since the last look to a call."""
        self._take(call)

    def _take(self, call: int | None) -> None:
        graph = tf.compat.v1.get_default_graph()
        self.graphs[id(graph)] = graph
        operations = graph.get_operations()
        for operation in operations[self.counts.get(id(graph), 0) :]:
            if call is not None:
                self.owners[id(graph), operation.name] = call
        self.counts[id(graph)] = len(operations)

    def readers(self, tensor: tf.Tensor, live: frozenset[Key]) -> Iterator[Reader]:
        """Lists who reads a tensor, through casts between the layers.

        Args:
            tensor: A tensor of a traced graph.
            live: Operators that the outputs of the model depend on.

        Yields:
            One entry an operator that reads it.
        """
        for operation in tensor.consumers():
            key = id(tensor.graph), operation.name
            owner = self.owners.get(key)
            if key not in live and id(tensor.graph) == id(tf.compat.v1.get_default_graph()):
                continue
            if owner is None and operation.type in _SAME_VALUE:
                for output in operation.outputs:
                    yield from self.readers(output, live)
            else:
                yield Reader(call=owner, operator=operation.type)


def live_operations(outputs: Iterable[tf.Tensor]) -> frozenset[Key]:
    """Finds the operators of a graph that its outputs depend on.

    Args:
        outputs: Tensors of one graph.

    Returns:
        (graph, name) of each operator.
    """
    found: set[Key] = set()
    waiting = [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        key = id(operation.graph), operation.name
        if key not in found:
            found.add(key)
            waiting.extend(tensor.op for tensor in operation.inputs)
            waiting.extend(operation.control_inputs)
    return frozenset(found)
