"""The one place that opens a .tflite file with the LiteRT runtime and runs it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import (
    LARGEST_FILE,
    SMALLEST_FILE,
    check_mark,
    has_mark,
    read_flatfile,
)
from tf_metacompress.deploy.input_arrays import Inputs, arrays_by_name
from tf_metacompress.deploy.litert_process import refusal, try_in_process
from tf_metacompress.errors import (
    CorruptFileError,
    check_int,
    invalid,
    wrong_type,
)

_NOT_LOOKED_AT = ("WHILE", "IF", "DENSIFY")
"""Operators whose results are no activations, or not there when the file has run."""


def read_model_file(path: PathLike) -> bytes:
    """Reads a .tflite file from the disk.

    Args:
        path: The file.

    Returns:
        Its bytes.

    Raises:
        CorruptFileError: If it is not a .tflite file, which its first bytes tell however large it
            is.
        InvalidArgumentError: If there is no such file, it cannot be read or is too large.
    """
    try:
        with Path(path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(SMALLEST_FILE)
            if has_mark(data) and size <= LARGEST_FILE:
                data += stream.read()
    except TypeError as error:
        raise wrong_type("`path` must be a string or a Path.", path=path) from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "not enough memory"
        raise invalid(f"Cannot read the file: {reason}.", path=str(path)) from error
    check_mark(data, str(path), max(size, len(data)))
    if size > LARGEST_FILE:
        raise invalid("A .tflite file must stay below 4 GiB.", path=str(path), file_bytes=size)
    return data


class LitertModel:
    """An opened .tflite file that takes and gives real numbers.

    Quantised inputs and outputs are converted with the scale and zero point that the file states,
    so every file is called alike. Samples run one by one, as on a device.

    Attributes:
        file: What the file holds.
        input_names: Names of the inputs, as in the signature.
        output_names: Names of the outputs, as in the signature.
    """

    def __init__(
        self,
        file: FlatFile,
        num_threads: int = 1,
        source: str = "model",
        keep_tensors: bool = False,
    ) -> None:
        self.file = file
        self.input_names = tuple(file.input_names)
        self.output_names = tuple(file.output_names)
        self._interpreter = _start(file.data, num_threads, source, keep_tensors)
        details = self._interpreter.get_input_details() + self._interpreter.get_output_details()
        self._details = {detail["index"]: detail for detail in details}
        known = {*file.input_names.values(), *file.output_names.values()}
        if not known <= self._details.keys():
            raise CorruptFileError(
                f"The signature of {source} names tensors that are no in/output."
            )

    @classmethod
    def open(
        cls,
        source: PathLike | bytes,
        *,
        num_threads: int = 1,
        trusted: bool = False,
        keep_tensors: bool = False,
    ) -> Self:
        """Opens a file after checking it.

        Args:
            source: Path of a .tflite file, or its bytes.
            num_threads: Threads the runtime may use.
            trusted: Whether the file was just made here; otherwise it is first run once in a
                process of its own, where a crash does no harm.
            keep_tensors: Whether `run_all` shall be possible; the file then runs without delegates
                and slower.

        Returns:
            The opened model.

        Raises:
            CorruptFileError: If the file is damaged or the runtime refuses it.
            UnsupportedModelError: If the file needs an operator that the runtime does not have.
            InvalidArgumentError: If there is no such file.
        """
        check_int("num_threads", num_threads, minimum=1)
        data = bytes(source) if isinstance(source, bytes | bytearray) else read_model_file(source)
        name = "model" if isinstance(source, bytes | bytearray) else str(source)
        file = read_flatfile(data, name)
        if not trusted:
            try_in_process(data, name)
        return cls(file, num_threads, name, keep_tensors)

    def input_detail(self, name: str) -> dict[str, Any]:
        """Gives shape, dtype and quantisation of an input, as the runtime states them."""
        return self._details[self.file.input_names[name]]

    def set_inputs(self, sample: Mapping[str, np.ndarray]) -> None:
        """Places one sample of real numbers, each of the input's full shape (1, ...)."""
        for name, value in self.stored_inputs(sample).items():
            self._interpreter.set_tensor(self.file.input_names[name], value)

    def stored_inputs(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Gives a sample of real numbers in the types that the file takes, by name."""
        return {name: quantized(value, self.input_detail(name)) for name, value in sample.items()}

    def invoke(self) -> None:
        """Runs the model on the inputs in place."""
        self._interpreter.invoke()

    def stored_outputs(self) -> dict[str, np.ndarray]:
        """Gives a copy of the results of the last run in the types that the file gives, by name."""
        return {
            name: self._interpreter.get_tensor(index)
            for name, index in self.file.output_names.items()
        }

    def outputs(self) -> dict[str, np.ndarray]:
        """Gives a copy of the results of the last run as real numbers, by name."""
        return {
            name: dequantized(value, self._details[self.file.output_names[name]])
            for name, value in self.stored_outputs().items()
        }

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs a batch sample by sample.

        Args:
            inputs: One array of shape (N, ...) an input: alone, in order, or by name.

        Returns:
            Output name to array of shape (N, ...).

        Raises:
            InvalidArgumentError: If the arrays do not fit the inputs.
        """
        arrays = self._arrays(inputs)
        collected: dict[str, list[np.ndarray]] = {name: [] for name in self.output_names}
        for index in range(len(next(iter(arrays.values())))):
            self.set_inputs({name: array[index : index + 1] for name, array in arrays.items()})
            self.invoke()
            for name, value in self.outputs().items():
                collected[name].append(value)
        return {name: np.concatenate(values) for name, values in collected.items()}

    def run_all(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs a batch sample by sample and keeps what every operator makes, not only the outputs.

        Args:
            inputs: As for `run`; the model must have been opened with `keep_tensors`.

        Returns:
            Tensor name to real numbers of shape (N, ...), for all floats and quantised integers of
            the main graph that are neither constants, encoded or not, nor made by a loop.
        """
        graph = self.file.main
        plain = [op for op in graph.ops if op.name not in _NOT_LOOKED_AT]
        made = {index for op in plain for index in op.outputs} | set(graph.inputs)
        chosen = [
            detail
            for detail in self._interpreter.get_tensor_details()
            if detail["index"] in made
            and (detail["dtype"] == np.float32 or detail["quantization"][0])
        ]
        collected: dict[str, list[np.ndarray]] = {detail["name"]: [] for detail in chosen}
        arrays = self._arrays(inputs)
        for index in range(len(next(iter(arrays.values())))):
            self.set_inputs({name: array[index : index + 1] for name, array in arrays.items()})
            self.invoke()
            for detail in chosen:
                value = self._interpreter.get_tensor(detail["index"])
                collected[detail["name"]].append(dequantized(value, detail))
        return {name: np.stack(values) for name, values in collected.items()}

    def predict(self, inputs: Inputs) -> np.ndarray | tuple[np.ndarray, ...]:
        """Runs a batch; like `run`, but gives one array, or a tuple when there are more outputs."""
        results = tuple(self.run(inputs).values())
        return results[0] if len(results) == 1 else results

    def op_details(self) -> list[dict[str, Any]] | None:
        """Lists the operators as the runtime arranged them, delegates included.

        The runtime has no public call for it: this is the one place that uses the semi-private one.

        Returns:
            Dictionaries with "op_name", "inputs", "outputs"; None when the runtime does not tell.
        """
        try:
            return list(self._interpreter._get_ops_details())
        except (AttributeError, ValueError, RuntimeError):
            return None

    def _arrays(self, inputs: Inputs) -> dict[str, np.ndarray]:
        shapes = {name: tuple(self.input_detail(name)["shape"]) for name in self.input_names}
        return arrays_by_name(inputs, shapes)


def _start(data: bytes, num_threads: int, source: str, keep_tensors: bool) -> Interpreter:
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    settings = {
        "experimental_op_resolver_type": resolver,
        "experimental_preserve_all_tensors": True,
    }
    try:
        interpreter = Interpreter(
            model_content=data, num_threads=num_threads, **(settings if keep_tensors else {})
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise refusal(str(error), source) from error
    return interpreter


def quantized(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Gives real numbers as a tensor of that "dtype" and "quantization" stores them."""
    dtype, (scale, zero_point) = detail["dtype"], detail["quantization"]
    if not scale or not np.issubdtype(dtype, np.integer):
        return np.asarray(value, dtype)
    limits = np.iinfo(dtype)
    levels = np.round(np.asarray(value, np.float64) / scale) + zero_point
    return np.clip(levels, limits.min, limits.max).astype(dtype)


def dequantized(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Gives the real numbers that a tensor of that "quantization" stores."""
    scale, zero_point = detail["quantization"]
    if not scale or not np.issubdtype(value.dtype, np.integer):
        return value
    return ((value.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
