"""The machine this process runs on. Its figures say little of a phone."""

import hashlib

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.delegation import delegation_of
from tf_metacompress.deploy.devices.device import Runs, register_device
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.latency import BenchmarkResult, percentiles
from tf_metacompress.deploy.litert_process import Turns, run_in_process
from tf_metacompress.deploy.machine import this_machine


class HostDevice:
    """Times files with the LiteRT runtime in a process of its own.

    Args:
        xnnpack: Whether the delegate XNNPACK may run what it can, as LiteRT has it by default.

    Attributes:
        name: "host", or "host-without-xnnpack".
        xnnpack: As given.
    """

    def __init__(self, *, xnnpack: bool = True) -> None:
        self.name = "host" if xnnpack else "host-without-xnnpack"
        self.xnnpack = xnnpack

    def benchmark(self, path: PathLike, runs: Runs) -> BenchmarkResult:
        """Times a file on this machine.

        Args:
            path: The file.
            runs: How to time it.

        Returns:
            The measured latency.

        Raises:
            CorruptFileError: If the file is damaged.
            UnsupportedModelError: If it needs an operator that the runtime does not have.
            InvalidArgumentError: If there is no such file.
        """
        data = read_flatfile(read_model_file(path), str(path)).data
        turns = Turns(
            num_threads=runs.num_threads,
            num_warmup=runs.num_warmup,
            num_blocks=1,
            runs_per_block=runs.num_runs,
            xnnpack=self.xnnpack,
        )
        run = run_in_process([data], [str(path)], turns)
        (file,) = run.files
        (runs_ms,) = file.blocks_ms
        return BenchmarkResult(
            path=str(path),
            sha256=hashlib.sha256(data).hexdigest(),
            file_bytes=len(data),
            device=self.name,
            machine=this_machine(),
            num_threads=runs.num_threads,
            delegation=delegation_of(file.operators),
            init_ms=file.init_ms,
            warmup_ms=file.warmup_ms,
            runs_ms=runs_ms,
            **percentiles(runs_ms),
            peak_rss_bytes=run.peak_rss_bytes,
            base_rss_bytes=run.base_rss_bytes,
        )


HOST = register_device(HostDevice())
register_device(HostDevice(xnnpack=False))
