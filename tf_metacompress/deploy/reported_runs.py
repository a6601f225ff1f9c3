"""What a tool on a device tells of the runs it timed, when it does not give each of them."""

from dataclasses import dataclass

from tf_metacompress.deploy.records import Record


@dataclass(frozen=True, kw_only=True)
class OpTime(Record):
    """Time of one operator, from a profiled run.

    Attributes:
        op: Kind of the operator, as the tool names it.
        name: Name of its outputs; it begins with "Delegate/" for a part of a delegate's work.
        mean_ms: Mean over the profiled runs.
        calls: Calls in a run.
    """

    op: str
    name: str
    mean_ms: float
    calls: int


@dataclass(frozen=True, kw_only=True)
class ReportedRuns(Record):
    """A summary of timed runs. What the tool does not tell is None.

    Attributes:
        mean_ms: Mean latency.
        num_runs: Timed runs, which may be fewer than were asked for.
        std_ms: Population standard deviation.
        min_ms: Fastest run.
        max_ms: Slowest run.
        p5_ms: 5th percentile; percentiles of the tool are runs, never between two runs.
        p50_ms: Median.
        p95_ms: 95th percentile.
        init_ms: Loading the file and allocating its tensors.
        first_ms: The very first run.
        num_warmup: Runs before measuring began.
        warmup_mean_ms: Mean of those.
        footprint_bytes: Growth of the tool's memory from its start to its end.
        peak_bytes: Peak of the tool's memory, watched at intervals.
    """

    mean_ms: float
    num_runs: int | None = None
    std_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    p5_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    num_warmup: int | None = None
    warmup_mean_ms: float | None = None
    footprint_bytes: int | None = None
    peak_bytes: int | None = None
