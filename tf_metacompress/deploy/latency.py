"""Measured latency as frozen data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.reported_runs import OpTime, ReportedRuns


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Record):
    """Latency of one file on one device. What the device does not tell is None or empty.

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
        runs_ms: Each measured run; empty when the tool on the device gives a summary only.
        p50_ms: Median of the measured runs.
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        min_ms: Fastest run.
        reported: The summary of a tool that does not give each run, else None.
        ops: Time of each operator, from a run of its own that is profiled.
        cpu_mask: Cores the run was bound to, hexadecimal, None for all.
        peak_rss_bytes: Peak memory of the process that ran the file.
        base_rss_bytes: What of it was in use before the file was loaded: Python and the runtime.
    """

    path: str
    sha256: str
    file_bytes: int
    device: str
    machine: Machine
    num_threads: int
    delegation: Delegation | None
    init_ms: float | None
    warmup_ms: tuple[float, ...]
    runs_ms: tuple[float, ...]
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    min_ms: float | None
    reported: ReportedRuns | None = None
    ops: tuple[OpTime, ...] = ()
    cpu_mask: str | None = None
    peak_rss_bytes: int | None = None
    base_rss_bytes: int | None = None

    def __str__(self) -> str:
        """Prints the latency and what it was measured on, on two lines."""
        times = {
            "p50": self.p50_ms,
            "p90": self.p90_ms,
            "p95": self.p95_ms,
            "min": self.min_ms,
            "mean": self.reported and self.reported.mean_ms,
        }
        told = [f"{name} {value:.3f} ms" for name, value in times.items() if value is not None]
        count = self.reported.num_runs if self.reported else len(self.runs_ms)
        summary = ", summary of the tool on the device" if self.reported else ""
        cores = f", cores {self.cpu_mask}" if self.cpu_mask else ""
        init = "" if self.init_ms is None else f", init {self.init_ms:.1f} ms"
        return (
            f"{self.path}: {', '.join(told)} ({count or 'unknown number of'} runs{summary})\n"
            f"  on {self.device}: {self.machine.cpu}{cores}, {self.num_threads} thread(s), "
            f"LiteRT {self.machine.litert}{init}{self._memory()}"
        )

    def _memory(self) -> str:
        if self.peak_rss_bytes is None:
            return ""
        without = self.base_rss_bytes
        base = "" if without is None else f", {without / 1e6:.1f} MB of it without the file"
        return f", peak memory {self.peak_rss_bytes / 1e6:.1f} MB{base}"


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
