"""Measured latencies on disk, one file for each device, runtime and number of threads."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.devices.benchmark_tool import cache_folder
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.errors import CorruptFileError
from tf_metacompress.policy import LatencyTable
from tf_metacompress.policy.latency import Entry


class LatencyCache:
    """What was measured so far on one device; each addition is written whole or not at all.

    Args:
        folder: Where the files lie; None for the cache folder of the user.
        result: Any measurement on the device, for its description.

    Attributes:
        path: The file.
        table: Everything in it.

    Raises:
        CorruptFileError: If the file is damaged; the message names it.
    """

    def __init__(self, folder: PathLike | None, result: BenchmarkResult) -> None:
        machine = result.machine
        cores = f", cores {result.cpu_mask}" if result.cpu_mask else ""
        device = f"{result.device}: {machine.cpu}, {machine.architecture}{cores}"
        empty = LatencyTable(
            {}, device=device, runtime=f"LiteRT {machine.litert}", num_threads=result.num_threads
        )
        place = Path(folder) if folder is not None else cache_folder() / "latency"
        described = f"{empty.device}|{empty.runtime}|{empty.num_threads}|{machine.system}"
        digest = hashlib.sha256(described.encode()).hexdigest()[:12]
        slug = re.sub(r"[^a-z0-9]+", "-", result.device.lower()).strip("-")
        self.path = place / f"{slug}-{digest}.json"
        self.table = self._read() if self.path.exists() else empty

    def _read(self) -> LatencyTable:
        try:
            return LatencyTable.load(self.path)
        except CorruptFileError as error:
            raise CorruptFileError(
                f"The cache of latencies {str(self.path)!r} is damaged: {error} Delete it."
            ) from error

    def add(self, latencies: Mapping[Entry, float], errors: Mapping[Entry, float]) -> None:
        """Keeps measurements.

        Args:
            latencies: Milliseconds by layer key and action.
            errors: Half the 95 % interval of each.
        """
        self.table = dataclasses.replace(
            self.table,
            entries={**self.table.entries, **latencies},
            errors={**self.table.errors, **errors},
        )
        self.table.save(self.path)
