"""Runs a .tflite file on TensorFlow Lite Micro in a process of its own."""

import importlib.metadata
import importlib.util
import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_metacompress.deploy.devices.remote_shell import last_lines
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.micro_program import MARK, REFUSED
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.errors import DeviceError, UnsupportedModelError

_PROGRAM = Path(__file__).with_name("micro_program.py")
_TIMEOUT_S = 120.0
_MOST_ROOM = 2**30


@dataclass(frozen=True, kw_only=True)
class MicroRun:
    """What came of a run.

    Attributes:
        outputs: One array of shape (samples, ...) an output, in the order of the file.
        smallest_bytes: Smallest arena that the file starts in.
        used_bytes: What it keeps of it: `head_bytes` and `tail_bytes`.
        head_bytes: Activations and scratch memory, planned to overlap.
        tail_bytes: What lasts as long as the interpreter.
        parts: What of it the interpreter names, such as "Persistent buffer data", to bytes.
    """

    outputs: tuple[np.ndarray, ...]
    smallest_bytes: int
    used_bytes: int
    head_bytes: int
    tail_bytes: int
    parts: Mapping[str, int]


def micro_version() -> str | None:
    """Gives the version of the package `tflite-micro`, None when it is not installed."""
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    return importlib.metadata.version("tflite-micro")


def run_micro(file: FlatFile, samples: Sequence[np.ndarray], source: str) -> MicroRun:
    """Runs a file.

    Args:
        file: A file that `resolver_methods` let pass.
        samples: For each input an array of shape (samples, ...) as the file stores it; empty to
            have one sample of zeros run.
        source: What to call the file in an error.

    Returns:
        What came of it.

    Raises:
        UnsupportedModelError: If TensorFlow Lite Micro refuses the file, crashes on it or does not
            come back within two minutes.
        DeviceError: If the package `tflite-micro` is missing or broken.
    """
    if micro_version() is None:
        raise DeviceError(
            "TensorFlow Lite Micro is not installed. Install it: "
            "pip install 'tf_metacompress[micro]' (or: pip install --pre tflite-micro).",
            reason="missing",
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(with_inner_buffers(file.data))
        np.savez(folder / "inputs.npz", **{str(n): array for n, array in enumerate(samples)})
        told = _call(folder, file, source)
        with np.load(folder / "outputs.npz") as given:
            outputs = tuple(given[str(index)] for index in range(len(file.main.outputs)))
    return MicroRun(
        outputs=outputs,
        smallest_bytes=told["smallest"],
        used_bytes=told["total"],
        head_bytes=told["head"],
        tail_bytes=told["tail"],
        parts=told["parts"],
    )


def _call(folder: Path, file: FlatFile, source: str) -> Mapping:
    numbers = (len(file.main.inputs), len(file.main.outputs), _room(file))
    words = [str(_PROGRAM), json.dumps(sys.path), str(folder), *map(str, numbers)]
    try:
        done = subprocess.run([sys.executable, *words], capture_output=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise _refused(f"gives no answer within {_TIMEOUT_S:.0f} s", "", source) from error
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode < 0:
        raise _refused(f"crashes ({signal.Signals(-done.returncode).name})", said, source)
    if done.returncode == REFUSED:
        raise _refused("refuses the file", said, source)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    answers = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if done.returncode or not answers:
        raise DeviceError(
            f"TensorFlow Lite Micro cannot be run. It said: {last_lines(said, 4).rstrip('.')}"
        )
    return json.loads(answers[-1])


def _room(file: FlatFile) -> int:
    """Room that is enough for any plan; memory that is not touched costs nothing."""
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    bytes_at_most = 8 * sum(math.prod(map(abs, tensor.shape)) for tensor in tensors)
    return min(10 * len(file.data) + 4 * bytes_at_most + 2**20, _MOST_ROOM)


def _refused(what: str, said: str, source: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"TensorFlow Lite Micro {what}. It said: {last_lines(said, 4).rstrip('.')}. "
        f"Received: {source}. Export in mode 'int8' or 'float32', or replace the layer it names."
    )
