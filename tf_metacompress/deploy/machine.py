"""The machine that a measurement was made on."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from tf_metacompress.deploy.records import Record

_CPU_INFO = Path("/proc/cpuinfo")
_CPU_KEYS = ("model name", "Model", "Hardware")


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """What a figure depends on beside the file.

    Attributes:
        cpu: Model of the processor.
        architecture: Such as "x86_64" or "aarch64".
        cores: Cores this process may use.
        system: Operating system and its version.
        python: Version of Python, None where none took part.
        litert: Version of the runtime, or which build of a tool ran.
    """

    cpu: str
    architecture: str
    cores: int
    system: str
    python: str | None
    litert: str


def this_machine() -> Machine:
    """Describes the machine this process runs on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=_cpu_model(),
        architecture=platform.machine(),
        cores=len(affinity(0)) if affinity else (os.cpu_count() or 1),
        system=platform.platform(),
        python=platform.python_version(),
        litert=importlib.metadata.version("ai-edge-litert"),
    )


def _cpu_model() -> str:
    if _CPU_INFO.is_file():
        lines = _CPU_INFO.read_text(errors="replace").splitlines()
        values = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
        for key in _CPU_KEYS:
            if values.get(key):
                return values[key]
    return platform.processor() or "unknown"
