"""Measured latency as frozen data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.deploy.records import Record


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Record):
    """Latency of one file on one device.

    Attributes:
        path: The file.
        sha256: Hash of the file, hexadecimal.
        file_bytes: Size of the file.
        device: Where it ran.
        machine: The machine and the runtime.
        num_threads: Threads the runtime used.
        delegation: How the runtime split the file, None when it does not tell.
        init_ms: Opening the file and allocating its tensors.
        warmup_ms: Each run before measuring began, the first one first.
        runs_ms: Each measured run.
        p50_ms: Median of `runs_ms`.
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        min_ms: Fastest run.
    """

    path: str
    sha256: str
    file_bytes: int
    device: str
    machine: Machine
    num_threads: int
    delegation: Delegation | None
    init_ms: float
    warmup_ms: tuple[float, ...]
    runs_ms: tuple[float, ...]
    p50_ms: float
    p90_ms: float
    p95_ms: float
    min_ms: float

    def __str__(self) -> str:
        """Prints the latency and what it was measured on, on two lines."""
        return (
            f"{self.path}: p50 {self.p50_ms:.3f} ms, p90 {self.p90_ms:.3f} ms, p95 "
            f"{self.p95_ms:.3f} ms, min {self.min_ms:.3f} ms ({len(self.runs_ms)} runs)\n"
            f"  on {self.device}: {self.machine.cpu}, {self.num_threads} thread(s), "
            f"LiteRT {self.machine.litert}, init {self.init_ms:.1f} ms"
        )


def percentiles(runs_ms: Sequence[float]) -> dict[str, float]:
    """Summarises runs.

    Args:
        runs_ms: Latency of each run, at least one.

    Returns:
        "p50_ms", "p90_ms", "p95_ms" and "min_ms".

    Example:
        >>> percentiles([1.0, 2.0, 3.0])["p50_ms"]
        2.0
    """
    p50, p90, p95 = (float(value) for value in np.percentile(runs_ms, (50, 90, 95)))
    return {"p50_ms": p50, "p90_ms": p90, "p95_ms": p95, "min_ms": float(min(runs_ms))}
