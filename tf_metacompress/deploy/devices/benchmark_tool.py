"""Finds the `benchmark_model` program to run on an Android device."""

import os
from pathlib import Path

from tf_metacompress.atomic import PathLike
from tf_metacompress.errors import DeviceError

_VARIABLE = "TF_METACOMPRESS_BENCHMARK_MODEL"
_LITERT = "https://storage.googleapis.com/litert/binaries/latest/android_arm64/benchmark_model"
_NIGHTLY = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest"
)
_BUILD = "https://ai.google.dev/edge/litert/models/measurement says how to build it"
# Names of the builds, where to get one, and the machine in an ELF file's header.
_BUILDS = {
    "arm64-v8a": (
        ("android_aarch64_benchmark_model", "android_arm64/benchmark_model"),
        _LITERT,
        183,
    ),
    "armeabi-v7a": (
        ("android_arm_benchmark_model",),
        f"{_NIGHTLY}/android_arm_benchmark_model",
        40,
    ),
    "x86_64": (("android_x86_64_benchmark_model",), "", 62),
    "x86": (("android_x86_benchmark_model",), "", 3),
}


def cache_folder() -> Path:
    """The folder in which `benchmark_model` is looked for when none is named."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "tf_metacompress")


def read_benchmark_model(path: PathLike | None, abi: str) -> bytes:
    """Finds and reads the program.

    Args:
        path: The program or a folder with builds of it; None looks where the environment variable
            TF_METACOMPRESS_BENCHMARK_MODEL says, else in the cache folder.
        abi: What the device runs, such as "arm64-v8a".

    Returns:
        The program.

    Raises:
        DeviceError: If there is none, with where to get it, or it is for another processor.
    """
    names, url, machine = _BUILDS.get(abi, ((), "", None))
    place = Path(path or os.environ.get(_VARIABLE) or cache_folder())
    inside = (f"benchmark_model_{abi}", *names, "benchmark_model")
    tries = [place / name for name in inside] if place.is_dir() else [place]
    for file in tries:
        if file.is_file():
            return _checked(file, abi, machine)
    target = cache_folder() / f"benchmark_model_{abi}"
    get = f"curl --create-dirs -o '{target}' {url}" if url else _BUILD
    raise DeviceError(
        f"There is no benchmark_model for {abi} in {place}. Get one ({get}), or name it with "
        f"benchmark_model=... or --benchmark-model.",
        reason="missing",
    )


def _checked(file: Path, abi: str, machine: int | None) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DeviceError(f"Cannot read {file}: {error.strerror}.", reason="missing") from error
    is_elf = data[:4] == b"\x7fELF"
    found = int.from_bytes(data[18:20], "little")
    if is_elf and machine is not None and found != machine:
        known = next((name for name, (*_, code) in _BUILDS.items() if code == found), "another one")
        raise DeviceError(
            f"{file} is for {known}, but the device runs {abi}. Name a build for it with "
            "benchmark_model=... or --benchmark-model.",
            reason="missing",
        )
    return data
