"""Reads the profile of operators that `benchmark_model` writes as CSV or prints as a table.

Columns come and went ("start" is old), kinds and names hold commas: a row is told by its numbers.
"""

import re

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.reported_runs import OpTime

_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_TITLE = re.compile(r"^=+ (.*?) =+\s*$")
_LONGEST = 2000
_NUMBER = r"[-+.\de]+"
_BETWEEN = r"\s*[,\t]\s*"
_ROW = re.compile(
    r"\s*(?P<op>.*?)"
    + _BETWEEN
    + rf"(?:{_NUMBER}{_BETWEEN})?{_NUMBER}{_BETWEEN}(?P<mean>{_NUMBER}){_BETWEEN}"
    + rf"{_NUMBER}%{_BETWEEN}{_NUMBER}%{_BETWEEN}{_NUMBER}{_BETWEEN}(?P<calls>\d+){_BETWEEN}"
    + r"(?P<name>.*?)\s*"
)
_PARTITIONS = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) .* yielding (\d+) partitions")


def read_op_profile(text: str) -> tuple[OpTime, ...]:
    """Reads the operators in the order they ran.

    Args:
        text: The CSV file, or all that the tool printed.

    Returns:
        One entry an operator; empty when there is no profile in the text.
    """
    _, found, regular = text.partition(_REGULAR)
    ops, title = [], ""
    for line in (regular if found else text).splitlines():
        title = (_TITLE.match(line) or (None, title))[1]
        row = _ROW.fullmatch(line[:_LONGEST]) if title == "Run Order" else None
        if row and _is_float(row["mean"]):
            name, mean_ms = row["name"].replace("\t", ","), float(row["mean"])
            ops.append(OpTime(op=row["op"], name=name, mean_ms=mean_ms, calls=int(row["calls"])))
    return tuple(ops)


def reported_delegation(text: str, ops: tuple[OpTime, ...]) -> Delegation | None:
    """Reads how the runtime of the device splits the file.

    Args:
        text: What the tool printed.
        ops: The profile of operators.

    Returns:
        The split, or None when the tool does not name the operators outside.
    """
    found = _PARTITIONS.findall(text)
    whole = bool(found) and all(replaced == total for replaced, total, _ in found)
    if not found or not (ops or whole):
        return None
    outside = (op.op for op in ops if not op.name.startswith("Delegate/"))
    return Delegation(
        partitions=sum(int(partitions) for *_, partitions in found),
        ops_outside=() if whole else tuple(op for op in outside if "delegate" not in op.lower()),
    )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
