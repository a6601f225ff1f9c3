"""What a device must do to be measured on, and the registry of devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.errors import check_choice, check_int, wrong_type


@dataclass(frozen=True, kw_only=True)
class Runs:
    """How a file is to be timed.

    Attributes:
        num_threads: Threads the runtime may use.
        num_runs: Measured runs.
        num_warmup: Runs before measuring begins.
    """

    num_threads: int = 1
    num_runs: int = 50
    num_warmup: int = 5

    def __post_init__(self) -> None:
        """Checks the counts."""
        check_int("num_threads", self.num_threads, minimum=1)
        check_int("num_runs", self.num_runs, minimum=1)
        check_int("num_warmup", self.num_warmup, minimum=0)


class Device(Protocol):
    """Something that can time a .tflite file."""

    name: str

    def benchmark(self, path: PathLike, runs: Runs) -> BenchmarkResult:
        """Times a file.

        Args:
            path: The file, on this machine.
            runs: How to time it.

        Returns:
            The measured latency.
        """
        ...


_DEVICES: dict[str, Device] = {}
_KINDS: dict[str, Callable[..., Device]] = {}


def register_device(device: Device) -> Device:
    """Makes a device known under its name, replacing one of the same name.

    Args:
        device: The device.

    Returns:
        The same device.
    """
    _DEVICES[device.name] = device
    return device


def register_device_kind(kind: str, make: Callable[..., Device]) -> None:
    """Makes "KIND" and "KIND:ADDRESS" names of devices.

    Args:
        kind: The word before the colon.
        make: Takes the address, "" when there is none, and settings of its own by name.
    """
    _KINDS[kind] = make


def device_names() -> tuple[str, ...]:
    """Lists the registered devices and kinds of devices."""
    return (*_DEVICES, *_KINDS)


def get_device(device: str | Device, **settings: Any) -> Device:
    """Finds a device by name; a device object is returned as it is.

    Args:
        device: Name, or kind and address as "android:SERIAL", or device.
        **settings: Settings of the kind.

    Returns:
        The device.

    Raises:
        InvalidArgumentError: If there is none of that name; those that exist are listed.
        ArgumentTypeError: If it is neither a name nor a device.
    """
    if isinstance(device, str):
        kind, _, address = device.partition(":")
        if device not in _DEVICES and kind in _KINDS:
            return _KINDS[kind](address, **settings)
        return _DEVICES[check_choice("device", device, device_names())]
    if not callable(getattr(device, "benchmark", None)):
        raise wrong_type("`device` must be a name or have a `benchmark` method.", device=device)
    return device
