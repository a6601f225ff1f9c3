"""Latencies that were measured before, for the page that goes with a file."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_metacompress.atomic import PathLike
from tf_metacompress.errors import CorruptFileError, invalid, wrong_type

_KINDS_OF_DEVICES = ("android", "ssh")
_ARM = ("arm", "aarch64")
_EMULATED = ("emulat", "qemu")
_NOT_MEASURED = "Not measured yet; the commands below measure it on a connected phone."
_OTHER_MACHINES = "**The rows are of different machines: compare figures within a machine only.**"
_HEAD = "| device | where | p50 | p90 | mean | runs | threads | runtime |\n" + "|---" * 8 + "|"


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One row.

    Attributes:
        device: Where it was measured.
        cpu: Model of the processor.
        architecture: Such as "arm64-v8a" or "x86_64".
        runtime: Version of the runtime.
        threads: Threads it used.
        p50_ms: Median, None if the tool did not tell.
        p90_ms: 90th percentile, likewise.
        mean_ms: Mean, likewise.
        runs: Counted runs, likewise.
    """

    device: str
    cpu: str
    architecture: str
    runtime: str
    threads: int
    p50_ms: float | None
    p90_ms: float | None
    mean_ms: float | None
    runs: int | None

    @property
    def where(self) -> str:
        """What kind of machine this is: only a phone or board with an ARM core is on-device."""
        told = f"{self.device} {self.cpu} {self.architecture}".lower()
        if any(word in told for word in _EMULATED):
            return "emulated: no latency of a device"
        kind = self.device.partition(":")[0]
        if kind in _KINDS_OF_DEVICES and self.architecture.lower().startswith(_ARM):
            return "on-device"
        return "development machine: no latency of a device"

    @property
    def machine(self) -> tuple[str, str, str]:
        """What tells machines apart."""
        return self.device, self.cpu, self.architecture


def read_latency(path: PathLike, hashes: Collection[str]) -> Latency:
    """Reads what `benchmark --json` printed.

    Args:
        path: The file.
        hashes: SHA-256 that the measured file may have: with metadata and without.

    Returns:
        What it says.

    Raises:
        CorruptFileError: If it is no such file.
        InvalidArgumentError: If another file was measured, or there is no such file.
    """
    content = _content(path)
    try:
        told = json.loads(content)
        row = _latency(told)
        measured = told["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(
            "The file must be what `tf-metacompress benchmark --json` prints. "
            f"Received: {str(path)!r}. Measure again with --json."
        ) from error
    if measured not in hashes:
        raise invalid(
            "The latency must be that of this very file.",
            "Measure this file, or leave the latency out.",
            path=str(path),
            measured=measured,
        )
    return row


def _content(path: PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except TypeError as error:
        raise wrong_type("A benchmark must be a path.", path=path) from error
    except OSError as error:
        raise invalid(f"Cannot read the file: {error.strerror}.", path=str(path)) from error


def _latency(told: Mapping[str, Any]) -> Latency:
    machine, reported = told["machine"], told["reported"] or {}
    times = {
        "p50_ms": told["p50_ms"],
        "p90_ms": told["p90_ms"],
        "mean_ms": reported.get("mean_ms"),
    }
    for value in times.values():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError("not a time")
    return Latency(
        device=str(told["device"]),
        cpu=str(machine["cpu"]),
        architecture=str(machine["architecture"]),
        runtime=str(machine["litert"]),
        threads=int(told["num_threads"]),
        runs=reported.get("num_runs") or len(told["runs_ms"]) or None,
        **times,
    )


def latency_table(rows: Sequence[Latency]) -> str:
    """Writes the rows as a Markdown table, with a line when they are of different machines.

    Args:
        rows: What was measured.

    Returns:
        The table, or a sentence if nothing was measured.
    """
    if not rows:
        return _NOT_MEASURED
    lines = [_HEAD, *map(_row, rows)]
    if len({row.machine for row in rows}) > 1:
        lines += ["", _OTHER_MACHINES]
    return "\n".join(lines)


def _row(row: Latency) -> str:
    cells = (
        _cell(f"{row.device}: {row.cpu}, {row.architecture}"),
        row.where,
        *(f"{t:.3f} ms" if t is not None else "–" for t in (row.p50_ms, row.p90_ms, row.mean_ms)),
        str(row.runs or "–"),
        str(row.threads),
        _cell(row.runtime),
    )
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
