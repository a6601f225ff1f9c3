"""`measure_micro`: what a .tflite file needs and computes on TensorFlow Lite Micro."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.input_arrays import Inputs, arrays_by_name
from tf_metacompress.deploy.interpreter import dequantized, quantized, read_model_file
from tf_metacompress.deploy.io_signatures import IoTensor, Signature, read_signatures
from tf_metacompress.deploy.litert_process import run_samples
from tf_metacompress.deploy.micro_ops import resolver_methods
from tf_metacompress.deploy.micro_process import micro_version, run_micro
from tf_metacompress.deploy.parity import ParityReport, compare_outputs
from tf_metacompress.deploy.records import Record
from tf_metacompress.errors import UnsupportedModelError, check_int, check_positive

_NUM_RANDOM = 8
_TOLERANCE = 0.05
_MOST_VALUES = 2**24
_TYPES = ("float32", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool")


@dataclass(frozen=True, kw_only=True)
class MicroReport(Record):
    """A file on TensorFlow Lite Micro. It holds no times: they would be those of a PC.

    The kernels are the portable ones, built for this machine. Optimised ones (CMSIS-NN, Xtensa) may
    need more arena; pointers of 32 bits need less.

    Attributes:
        path: The file.
        sha256: Hash of the file, hexadecimal.
        file_bytes: Size of the file.
        runtime: The package and its version.
        arena_bytes: Smallest arena, aligned to 16 bytes, that the file starts in.
        used_bytes: What it keeps of it. Planning may need more than that.
        head_bytes: Share of `used_bytes` for activations and scratch memory.
        tail_bytes: Share that lasts as long as the interpreter.
        parts: What of it the runtime names, to bytes.
        ops: Name of an operator to how often the file has it.
        methods: Calls of `MicroMutableOpResolver` that register the operators.
        parity: How far the outputs lie from those of LiteRT on the same samples.
    """

    path: str
    sha256: str
    file_bytes: int
    runtime: str
    arena_bytes: int
    used_bytes: int
    head_bytes: int
    tail_bytes: int
    parts: Mapping[str, int]
    ops: Mapping[str, int]
    methods: tuple[str, ...]
    parity: ParityReport

    def __str__(self) -> str:
        """Prints memory, operators and how far the outputs lie from those of LiteRT."""
        ops = ", ".join(f"{count} × {name}" for name, count in self.ops.items())
        return (
            f"{self.path}: arena {self.arena_bytes:,} B (kept {self.used_bytes:,} B: activations "
            f"{self.head_bytes:,} B, persistent {self.tail_bytes:,} B)\n"
            f"  with {self.runtime}, portable kernels; operators {ops}\n"
            f"  relative error to LiteRT {self.parity.relative_error:.2g}, largest "
            f"{self.parity.max_abs_error:.3g}, {self.parity.num_samples} samples"
        )


def measure_micro(
    path: PathLike, inputs: Inputs | None = None, *, tolerance: float = _TOLERANCE, seed: int = 0
) -> MicroReport:
    """Runs a .tflite file on TensorFlow Lite Micro, in a process of its own.

    It needs the extra `micro`. Operators and types without a kernel are named before anything is
    run.

    Args:
        path: The file, as LiteRT takes it; best exported in mode "int8" with `io_dtype="int8"`.
        inputs: Samples to compare the outputs on, as for `LitertModel.run`; None draws eight: any
            integer that a quantised input can hold, floats in [0, 1), zeros for indices.
        tolerance: Largest relative error that counts as equal (`report.parity.passed`).
        seed: Seed of the draw.

    Returns:
        Arena, operators and parity.

    Raises:
        CorruptFileError: If it is not a .tflite file or LiteRT refuses it.
        UnsupportedModelError: If TensorFlow Lite Micro lacks a kernel, refuses the file or crashes.
        InvalidArgumentError: If an argument is not allowed.
        DeviceError: If the package `tflite-micro` is not installed.
    """
    check_positive("tolerance", tolerance)
    check_int("seed", seed, minimum=0)
    data = read_model_file(path)
    file = read_flatfile(data, str(path))
    methods = resolver_methods(file)
    signature = read_signatures(file)[0]
    _check_signature(file, signature)
    samples = _samples(signature, inputs, seed)
    stored = {file.input_names[name]: array for name, array in samples.items()}
    reference, _ = run_samples(data, str(path), stored)
    ran = run_micro(file, [stored[index] for index in file.main.inputs], str(path))
    given = dict(zip(file.main.outputs, ran.outputs, strict=True))
    parity = compare_outputs(
        _real(reference, file, signature),
        _real(given, file, signature),
        tolerance=tolerance,
        source="random" if inputs is None else "inputs",
    )
    return MicroReport(
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        file_bytes=len(data),
        runtime=f"tflite-micro {micro_version()}",
        arena_bytes=ran.smallest_bytes,
        used_bytes=ran.used_bytes,
        head_bytes=ran.head_bytes,
        tail_bytes=ran.tail_bytes,
        parts=ran.parts,
        ops=dict(Counter(op.name for graph in file.subgraphs for op in graph.ops).most_common()),
        methods=methods,
        parity=parity,
    )


def arena_bytes(path: PathLike) -> int | None:
    """Measures the arena that TensorFlow Lite Micro needs for a .tflite file.

    Args:
        path: The file.

    Returns:
        Bytes of the smallest arena that the file starts in; None without the extra `micro`.

    Raises:
        CorruptFileError: If it is not a .tflite file.
        UnsupportedModelError: If TensorFlow Lite Micro lacks a kernel, refuses the file or crashes.
        InvalidArgumentError: If there is no such file.
    """
    return measured_arena(read_flatfile(read_model_file(path), str(path)), str(path))


def measured_arena(file: FlatFile, source: str) -> int | None:
    """As `arena_bytes`, for a file that has been read; `source` is what to call it."""
    resolver_methods(file)
    return None if micro_version() is None else run_micro(file, (), source).smallest_bytes


def _check_signature(file: FlatFile, signature: Signature) -> None:
    named = (set(file.input_names.values()), set(file.output_names.values()))
    main = (set(file.main.inputs), set(file.main.outputs))
    if named != main:
        raise UnsupportedModelError(
            "The signature must name every input and output of the file. Received: "
            f"inputs {list(file.input_names)} for {len(main[0])}, outputs "
            f"{list(file.output_names)} for {len(main[1])}. Export the model again."
        )
    tensors = (*signature.inputs, *signature.outputs)
    odd = [item for item in signature.inputs if item.shape[:1] != (1,)]
    odd += [item for item in tensors if item.type not in _TYPES or not _is_small(item)]
    if odd:
        told = ", ".join(f"{item.name}: {item.type} {item.shape}" for item in odd)
        raise UnsupportedModelError(
            "Inputs must have the shape (1, ...); inputs and outputs must be numbers, and at most "
            f"{_MOST_VALUES:,}. Received: {told}. Export the model again."
        )


def _is_small(item: IoTensor) -> bool:
    return min(item.shape, default=1) > 0 and math.prod(item.shape) <= _MOST_VALUES


def _samples(signature: Signature, inputs: Inputs | None, seed: int) -> dict[str, np.ndarray]:
    """Input by name as the file stores it, of shape (samples, 1, ...)."""
    items = signature.inputs
    if inputs is None:
        real = _drawn(signature, seed)
    else:
        real = arrays_by_name(inputs, {item.name: item.shape for item in items})
    return {item.name: quantized(real[item.name], item.detail)[:, None] for item in items}


def _drawn(signature: Signature, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {item.name: _draw(item, rng) for item in signature.inputs}


def _draw(item: IoTensor, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = (_NUM_RANDOM, *item.shape[1:]), np.dtype(item.type)
    if dtype.kind == "f":
        return rng.random(shape, np.float32)
    if not item.scale:
        return np.zeros(shape, dtype)
    limits = np.iinfo(dtype)
    levels = rng.integers(limits.min, limits.max, shape, np.int64, endpoint=True)
    return (levels - item.zero_point) * np.float64(item.scale)


def _real(
    stored: Mapping[int, np.ndarray], file: FlatFile, signature: Signature
) -> dict[str, np.ndarray]:
    """Output by name as real numbers of shape (samples, ...) from stored (samples, 1, ...)."""
    real = {}
    for item in signature.outputs:
        values = stored[file.output_names[item.name]]
        if values.shape[1:] != item.shape:
            raise UnsupportedModelError(
                f"Output {item.name!r} must have the shape that the file states, {item.shape}. "
                f"Received: {values.shape[1:]}. Export the model with fixed shapes."
            )
        real[item.name] = dequantized(values.reshape(-1, *values.shape[2:]), item.detail)
    return real
