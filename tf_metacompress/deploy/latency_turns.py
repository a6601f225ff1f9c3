"""Files timed in turns on any device."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_metacompress.deploy.devices import Device, HostDevice, Runs
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.deploy.litert_process import Turns, run_in_process
from tf_metacompress.errors import DeviceError

NUM_BLOCKS = 9
_NUM_WARMUP, _RUNS_PER_BLOCK = 5, 10


def block_medians(
    device: Device, files: Sequence[bytes], num_threads: int, num_blocks: int = NUM_BLOCKS
) -> np.ndarray:
    """Times files in turns, so that what disturbs one disturbs all.

    Args:
        device: Where they run.
        files: .tflite files that were made here.
        num_threads: Threads the runtime may use.
        num_blocks: How often each file has its turn.

    Returns:
        Milliseconds of each file in each of its turns, float64 (files, blocks).

    Raises:
        DeviceError: If the device goes away or tells no latency.
    """
    if isinstance(device, HostDevice):
        turns = Turns(
            num_threads=num_threads,
            num_warmup=_NUM_WARMUP,
            num_blocks=num_blocks,
            runs_per_block=_RUNS_PER_BLOCK,
            xnnpack=device.xnnpack,
        )
        names = [f"file {index}" for index in range(len(files))]
        told = run_in_process(files, names, turns).files
        return np.median(np.array([file.blocks_ms for file in told]), axis=-1)
    runs = Runs(num_threads=num_threads, num_runs=_RUNS_PER_BLOCK, num_warmup=_NUM_WARMUP)
    medians = np.empty((len(files), num_blocks))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{index}.tflite") for index in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        for block in range(num_blocks):
            for turn in range(len(files)):
                index = (turn + block) % len(files)
                medians[index, block] = typical_ms(device.benchmark(paths[index], runs))
    return medians


def typical_ms(result: BenchmarkResult) -> float:
    """Gives the median of a measurement, or its mean where the device tells no median.

    Args:
        result: What a device measured.

    Returns:
        Milliseconds.

    Raises:
        DeviceError: If it tells neither.
    """
    mean_ms = result.reported.mean_ms if result.reported else None
    found = result.p50_ms if result.p50_ms is not None else mean_ms
    if found is None:
        raise DeviceError(f"{result.device} told no latency.")
    return found
