"""The machine this process runs on. Its figures say little of a phone."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.deploy.devices.device import Runs, register_device
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import LitertModel, read_model_file
from tf_metacompress.deploy.latency import BenchmarkResult, percentiles
from tf_metacompress.deploy.machine import this_machine
from tf_metacompress.deploy.trial import try_in_child

_NS_PER_MS = 1e6


def load_checked(path: PathLike, num_threads: int) -> tuple[LitertModel, float]:
    """Opens a file that somebody else may have made, and places inputs in it.

    Args:
        path: The file.
        num_threads: Threads the runtime may use.

    Returns:
        The opened model, and the milliseconds that opening and allocating took.
    """
    data = read_model_file(path)
    file = read_flatfile(data, str(path))
    try_in_child(data, str(path))
    begin = time.perf_counter_ns()
    model = LitertModel(file, num_threads, str(path))
    init_ms = (time.perf_counter_ns() - begin) / _NS_PER_MS
    rng = np.random.default_rng(0)
    details = {name: model.input_detail(name) for name in model.input_names}
    model.set_inputs({name: _input(detail, rng) for name, detail in details.items()})
    return model, init_ms


def _input(detail: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Random numbers in [0, 1) for a float or quantised input, zeros for indices."""
    if np.issubdtype(detail["dtype"], np.floating) or detail["quantization"][0]:
        return rng.random(tuple(detail["shape"]), np.float32)
    return np.zeros(tuple(detail["shape"]), detail["dtype"])


def time_runs(model: LitertModel, count: int) -> tuple[float, ...]:
    """Times `count` runs one after another, in milliseconds."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        model.invoke()
        times.append((time.perf_counter_ns() - begin) / _NS_PER_MS)
    return tuple(times)


class HostDevice:
    """Times files with the LiteRT runtime in this process."""

    name = "host"

    def benchmark(self, path: PathLike, runs: Runs) -> BenchmarkResult:
        """Times a file on this machine.

        Args:
            path: The file.
            runs: How to time it.

        Returns:
            The measured latency.

        Raises:
            CorruptFileError: If the file is damaged.
            InvalidArgumentError: If there is no such file.
        """
        model, init_ms = load_checked(path, runs.num_threads)
        warmup_ms = time_runs(model, runs.num_warmup)
        runs_ms = time_runs(model, runs.num_runs)
        return BenchmarkResult(
            path=str(path),
            sha256=hashlib.sha256(model.file.data).hexdigest(),
            file_bytes=len(model.file.data),
            device=self.name,
            machine=this_machine(),
            num_threads=runs.num_threads,
            delegation=read_delegation(model),
            init_ms=init_ms,
            warmup_ms=warmup_ms,
            runs_ms=runs_ms,
            **percentiles(runs_ms),
        )


HOST = register_device(HostDevice())
