"""Which operators a delegate such as XNNPACK runs, and which slower built-in kernels run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.records import Record

_DELEGATE = "DELEGATE"


@dataclass(frozen=True, kw_only=True)
class Delegation(Record):
    """How the runtime of this machine splits a file.

    Attributes:
        partitions: Parts of the graph that a delegate runs.
        ops_outside: Names of the operators that no delegate runs, in order.
        ops_inside: Names of those that one runs, in order; empty where a tool does not tell.
    """

    partitions: int
    ops_outside: tuple[str, ...]
    ops_inside: tuple[str, ...] = ()


def read_delegation(model: LitertModel) -> Delegation | None:
    """Reads how the runtime splits an opened file.

    Args:
        model: The opened file.

    Returns:
        The split, or None when the runtime does not tell.
    """
    return delegation_of(model.op_details())


def delegation_of(details: Sequence[Mapping[str, Any]] | None) -> Delegation | None:
    """Reads the split from the list of operators that the runtime gives.

    Args:
        details: Of each operator "op_name", "inputs" and "outputs"; None when it does not tell.

    Returns:
        The split, or None.
    """
    if details is None:
        return None
    parts = [op for op in details if op["op_name"] == _DELEGATE]
    ops = [op for op in details if op["op_name"] != _DELEGATE]
    inside = {index for part in parts for index in _covered(part, ops)}
    names = {taken: [] for taken in (True, False)}
    for index, op in enumerate(ops):
        names[index in inside].append(op["op_name"])
    return Delegation(
        partitions=len(parts), ops_outside=tuple(names[False]), ops_inside=tuple(names[True])
    )


def delegated_tensors(details: Sequence[Mapping[str, Any]] | None) -> frozenset[int] | None:
    """Lists the tensors that a delegate makes.

    Args:
        details: As for `delegation_of`.

    Returns:
        Indices of tensors of the main graph, or None when the runtime does not tell.
    """
    if details is None:
        return None
    ops = [op for op in details if op["op_name"] != _DELEGATE]
    parts = [op for op in details if op["op_name"] == _DELEGATE]
    inside = {index for part in parts for index in _covered(part, ops)}
    return frozenset(int(tensor) for index in inside for tensor in ops[index]["outputs"])


def _covered(part: Mapping[str, Any], ops: Sequence[Mapping[str, Any]]) -> set[int]:
    """Walks from the results of a partition back to what goes into it."""
    makers = {int(tensor): index for index, op in enumerate(ops) for tensor in op["outputs"]}
    border = {int(tensor) for tensor in part["inputs"]}
    covered: set[int] = set()
    pending = [int(tensor) for tensor in part["outputs"]]
    while pending:
        tensor = pending.pop()
        maker = makers.get(tensor)
        if tensor in border or maker is None or maker in covered:
            continue
        covered.add(maker)
        pending.extend(int(source) for source in ops[maker]["inputs"])
    return covered
