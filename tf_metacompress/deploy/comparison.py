"""`compare`: which of several .tflite files is faster on this machine, and how sure that is.

Paper of the interval: Efron, B. (1979), "Bootstrap methods: another look at the jackknife".
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.delegation import Delegation, delegation_of
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.litert_process import Turns, run_in_process
from tf_metacompress.deploy.machine import Machine, this_machine
from tf_metacompress.deploy.records import Record
from tf_metacompress.errors import check_int, invalid

_CONFIDENCE = 0.95
_NUM_RESAMPLES = 2000
_NUM_WARMUP = 5


@dataclass(frozen=True, kw_only=True)
class ComparedFile(Record):
    """One file of a comparison.

    Attributes:
        path: The file.
        sha256: Hash of the file, hexadecimal.
        file_bytes: Size of the file.
        p50_ms: Median over all its runs.
        blocks_ms: Median of each block.
        ratio: Median over the blocks of its latency divided by that of the first file in the same
            block; below 1 is faster.
        ratio_low: Lower end of the 95 % bootstrap interval of `ratio`.
        ratio_high: Upper end.
        delegation: How the runtime split the file, None when it does not tell.
    """

    path: str
    sha256: str
    file_bytes: int
    p50_ms: float
    blocks_ms: tuple[float, ...]
    ratio: float
    ratio_low: float
    ratio_high: float
    delegation: Delegation | None


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(Record):
    """Several files, timed in turns in one run.

    Attributes:
        files: The files in the order given; ratios refer to the first.
        device: Where they ran.
        machine: The machine and the runtime.
        num_threads: Threads the runtime used.
        num_blocks: How often each file had its turn.
        runs_per_block: Runs a turn.
    """

    files: tuple[ComparedFile, ...]
    device: str
    machine: Machine
    num_threads: int
    num_blocks: int
    runs_per_block: int

    def __str__(self) -> str:
        """Prints one line a file."""
        lines = [f"on {self.device}: {self.machine.cpu}, {self.num_threads} thread(s)"]
        for file in self.files:
            lines.append(
                f"  {file.path}: {file.p50_ms:.3f} ms, ratio {file.ratio:.3f} "
                f"[{file.ratio_low:.3f}, {file.ratio_high:.3f}]"
            )
        return "\n".join(lines)


def compare(
    paths: Sequence[PathLike],
    *,
    num_threads: int = 1,
    num_blocks: int = 9,
    runs_per_block: int = 20,
) -> ComparisonResult:
    """Times several files in turns, so that what disturbs one disturbs all.

    Args:
        paths: At least two files; the first is what the others are compared with.
        num_threads: Threads the runtime may use.
        num_blocks: How often each file has its turn, at least 3; 7 or more give steady ratios.
        runs_per_block: Runs a turn.

    Returns:
        Ratios to the first file with 95 % confidence intervals, and the raw block medians.

    Raises:
        CorruptFileError: If a file is damaged; this process survives it.
        UnsupportedModelError: If a file needs an operator that the runtime does not have.
        InvalidArgumentError: If a file is missing or a count is out of range.
    """
    if isinstance(paths, str | bytes) or len(paths) < 2:
        raise invalid("`paths` must hold at least two files.", paths=paths)
    check_int("num_blocks", num_blocks, minimum=3)
    check_int("runs_per_block", runs_per_block, minimum=1)
    check_int("num_threads", num_threads, minimum=1)
    sources = list(map(str, paths))
    datas = [read_flatfile(read_model_file(path), str(path)).data for path in paths]
    turns = Turns(
        num_threads=num_threads,
        num_warmup=_NUM_WARMUP,
        num_blocks=num_blocks,
        runs_per_block=runs_per_block,
    )
    told = run_in_process(datas, sources, turns).files
    runs = np.array([file.blocks_ms for file in told])
    splits = [delegation_of(file.operators) for file in told]
    return ComparisonResult(
        files=tuple(
            _compared(source, data, runs[index], runs[0], splits[index])
            for index, (source, data) in enumerate(zip(sources, datas, strict=True))
        ),
        device="host",
        machine=this_machine(),
        num_threads=num_threads,
        num_blocks=num_blocks,
        runs_per_block=runs_per_block,
    )


def _compared(
    path: str, data: bytes, runs: np.ndarray, first: np.ndarray, split: Delegation | None
) -> ComparedFile:
    blocks = np.median(runs, axis=1)
    ratios = blocks / np.median(first, axis=1)
    low, high = ratio_interval(ratios)
    return ComparedFile(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        file_bytes=len(data),
        p50_ms=float(np.median(runs)),
        blocks_ms=tuple(float(value) for value in blocks),
        ratio=float(np.median(ratios)),
        ratio_low=low,
        ratio_high=high,
        delegation=split,
    )


def ratio_interval(ratios: np.ndarray) -> tuple[float, float]:
    """Gives the 95 % percentile-bootstrap interval of the median.

    Args:
        ratios: One ratio a block, at least two.

    Returns:
        Lower and upper end; the same on every call.
    """
    interval = stats.bootstrap(
        (np.asarray(ratios),),
        np.median,
        confidence_level=_CONFIDENCE,
        n_resamples=_NUM_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)
