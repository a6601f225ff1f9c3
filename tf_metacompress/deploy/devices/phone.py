"""What an Android device says about itself, and which of its cores are big."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tf_metacompress.deploy.machine import Machine

_PROPERTIES = {
    "abi": "ro.product.cpu.abi",
    "maker": "ro.product.manufacturer",
    "model": "ro.product.model",
    "chip_maker": "ro.soc.manufacturer",
    "chip": "ro.soc.model",
    "board": "ro.board.platform",
    "release": "ro.build.version.release",
    "api": "ro.build.version.sdk",
    "emulated": "ro.kernel.qemu",
    "emulated_too": "ro.boot.qemu",
}
ASK_PHONE = "\n".join(
    [f'echo "{name}=$(getprop {key})"' for name, key in _PROPERTIES.items()]
    + [
        "for c in /sys/devices/system/cpu/cpu[0-9]*; do",
        '  echo "core ${c##*/cpu} $(cat $c/cpufreq/cpuinfo_max_freq 2>/dev/null)"',
        "done",
        "command -v taskset >/dev/null 2>&1 && echo taskset=1",
        "true",
    ]
)


@dataclass(frozen=True)
class Phone:
    """What a device says about itself.

    Attributes:
        properties: System properties by our names for them.
        max_khz: Top frequency of each core that tells it.
        num_cores: All its cores.
        can_bind: Whether it has `taskset`.
    """

    properties: Mapping[str, str]
    max_khz: Mapping[int, int]
    num_cores: int
    can_bind: bool

    @property
    def kind(self) -> str:
        """What it is: an emulator's times are not those of a phone."""
        emulated = "1" in (self.properties["emulated"], self.properties["emulated_too"])
        return "android-emulator" if emulated else "android"

    def machine(self, mask: str | None, runtime: str) -> Machine:
        """Describes it.

        Args:
            mask: Cores that are used, hexadecimal, None for all.
            runtime: What runs the file.

        Returns:
            The description.
        """
        told = self.properties
        chip = f"{told['chip_maker']} {told['chip']}".strip() or told["board"] or "unknown"
        return Machine(
            cpu=f"{told['maker']} {told['model']}, {chip}".strip(" ,"),
            architecture=told["abi"] or "unknown",
            cores=int(mask, 16).bit_count() if mask else max(self.num_cores, 1),
            system=f"Android {told['release']} (API {told['api']})",
            python=None,
            litert=runtime,
        )


def read_phone(text: str) -> Phone:
    """Reads the answer of a device about itself.

    Args:
        text: Lines "name=value" and "core INDEX KHZ".

    Returns:
        What it says.
    """
    told = dict(re.findall(r"^(\w+)=(.*?)\s*$", text, re.MULTILINE))
    cores = re.findall(r"^core (\d{1,3})(?: +(\d{1,9}))?\s*$", text, re.MULTILINE)
    return Phone(
        properties={name: told.get(name, "") for name in _PROPERTIES},
        max_khz={int(core): int(khz) for core, khz in cores if khz},
        num_cores=len(cores),
        can_bind="taskset" in told,
    )


def big_cores(max_khz: Mapping[int, int], num_threads: int) -> str | None:
    """Chooses the cores above the slowest kind.

    Args:
        max_khz: Top frequency by core.
        num_threads: Threads to be placed.

    Returns:
        Their mask, hexadecimal; None when all cores are alike or too few of them are big.

    Example:
        >>> big_cores({0: 1800, 1: 1800, 2: 2400, 3: 2800}, 1)
        'c'
    """
    big = [core for core, khz in max_khz.items() if khz > min(max_khz.values())]
    return f"{sum(1 << core for core in big):x}" if len(big) >= num_threads and big else None
