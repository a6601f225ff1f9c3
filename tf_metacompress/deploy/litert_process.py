"""Runs .tflite files with LiteRT in a process of their own, whose death is an error here.

A file can be consistent and still end the process that runs it: the runtime aborts on some
quantisation scales instead of reporting them, and reads out of bounds on some shapes. So what
somebody else made runs where a crash does no harm. It takes about 0.4 s.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_metacompress.deploy.litert_program import MARK, REFUSED
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError, UnsupportedModelError

_PATIENCE_S = 120
_PROGRAM = Path(__file__).with_name("litert_program.py")
_LACKING = ("nresolved custom op", "regular TensorFlow ops", "Didn't find op for builtin opcode")


class RefusedFileError(CorruptFileError):
    """The runtime refuses a file with an error of its own, without a crash."""


@dataclass(frozen=True, kw_only=True)
class FileRun:
    """What the process measured of one file.

    Attributes:
        init_ms: Opening the file and allocating its tensors.
        warmup_ms: Each run before measuring began.
        blocks_ms: Each measured run, by turn.
        operators: The operators as the runtime arranged them; None when it does not tell.
    """

    init_ms: float
    warmup_ms: tuple[float, ...]
    blocks_ms: tuple[tuple[float, ...], ...]
    operators: Sequence[dict[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class ProcessRun:
    """What the process measured: each file, and its peak memory with and before them."""

    files: tuple[FileRun, ...]
    peak_rss_bytes: int
    base_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How often files run.

    Attributes:
        num_threads: Threads the runtime may use.
        num_warmup: Runs of each file before measuring begins.
        num_blocks: How often each file has its turn; 0 without warm-up only opens the files.
        runs_per_block: Runs a turn.
        xnnpack: Whether the delegate XNNPACK may run what it can.
    """

    num_threads: int = 1
    num_warmup: int = 0
    num_blocks: int = 0
    runs_per_block: int = 0
    xnnpack: bool = True


def run_in_process(datas: Sequence[bytes], sources: Sequence[str], turns: Turns) -> ProcessRun:
    """Opens files in a process of their own and runs them in turns on random inputs.

    Args:
        datas: The whole files, already checked by `read_flatfile`.
        sources: What to call each in an error, usually its path.
        turns: How often they run.

    Returns:
        What was measured.

    Raises:
        CorruptFileError: If the runtime refuses a file, crashes on it or does not come back within
            two minutes from one run.
        UnsupportedModelError: If a file needs an operator that the runtime does not have.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = _call(Path(folder), datas, sources, vars(turns))
    files = tuple(_file_run(file) for file in told["files"])
    return ProcessRun(
        files=files,
        peak_rss_bytes=told["peak_rss_bytes"],
        base_rss_bytes=told["base_rss_bytes"],
    )


def run_samples(
    data: bytes, source: str, inputs: Mapping[int, np.ndarray]
) -> tuple[dict[int, np.ndarray], FileRun]:
    """Runs a file in a process of its own on given samples, one by one.

    Args:
        data: The whole file, already checked by `read_flatfile`.
        source: What to call it in an error.
        inputs: Tensor by index to what it takes, of shape (samples, ...) in its stored type.

    Returns:
        Tensor by index to what the file gives, of shape (samples, ...) in its stored type; and how
        it ran.

    Raises:
        CorruptFileError: As `run_in_process` does.
        UnsupportedModelError: Likewise.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given, made = folder / "inputs.npz", folder / "outputs.npz"
        np.savez(given, **{str(index): value for index, value in inputs.items()})
        request = vars(Turns()) | {"inputs": str(given), "outputs": str(made)}
        told = _call(folder, [data], [source], request)
        with np.load(made) as file:
            outputs = {int(index): file[index] for index in file.files}
    return outputs, _file_run(told["files"][0])


def _call(
    folder: Path, datas: Sequence[bytes], sources: Sequence[str], request: Mapping[str, Any]
) -> dict[str, Any]:
    paths = [folder / f"{number}.tflite" for number in range(len(datas))]
    for path, data in zip(paths, datas, strict=True):
        path.write_bytes(data)
    asked = {**request, "paths": list(map(str, paths)), "patience_s": _PATIENCE_S}
    words = [str(_PROGRAM), json.dumps(sys.path), json.dumps(asked)]
    done = subprocess.run([sys.executable, *words], capture_output=True, cwd=folder)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    told = json.loads(lines[-1].removeprefix(MARK)) if done.returncode in (0, REFUSED) else {}
    if done.returncode:
        numbers = [int(line) for line in lines if line.isdecimal()]
        source = sources[numbers[-1]] if numbers else ", ".join(sources)
        raise _failure(done, told, source)
    return told


def _file_run(told: dict[str, Any]) -> FileRun:
    return FileRun(
        init_ms=told["init_ms"],
        warmup_ms=tuple(told["warmup_ms"]),
        blocks_ms=tuple(map(tuple, told["blocks_ms"])),
        operators=told["operators"],
    )


def _failure(
    done: subprocess.CompletedProcess[bytes], told: dict[str, Any], source: str
) -> InvalidArgumentError:
    if done.returncode == REFUSED:
        return refusal(told["reason"], source)
    if done.returncode == -signal.SIGALRM:
        reason = f"no answer within {_PATIENCE_S} s"
    elif done.returncode < 0:
        reason = f"a crash ({signal.Signals(-done.returncode).name})"
    else:
        reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
    return CorruptFileError(
        f"The runtime cannot run this .tflite file: {reason}. Received: {source}."
    )


def refusal(reason: str, source: str) -> InvalidArgumentError:
    """Builds, without raising, the error for a file that the runtime refuses.

    Args:
        reason: What the runtime said.
        source: What to call the file.

    Returns:
        An `UnsupportedModelError` if it lacks an operator, else a `RefusedFileError`.
    """
    said = " ".join(reason.split()).rstrip(".")
    if any(words in said for words in _LACKING):
        return UnsupportedModelError(
            f"The runtime lacks an operator of this file: {said}. Received: {source}."
        )
    return RefusedFileError(f"The runtime refuses this .tflite file: {said}. Received: {source}.")


def try_in_process(data: bytes, source: str = "model") -> None:
    """Loads and runs a file once in a process of its own, before this process trusts it.

    Args:
        data: The whole file.
        source: What to call it in an error, usually its path.

    Raises:
        CorruptFileError: If the runtime refuses the file, crashes on it or does not come back
            within two minutes.
        UnsupportedModelError: If the file needs an operator that the runtime does not have.
    """
    run_in_process([data], [source], Turns(num_warmup=1))
