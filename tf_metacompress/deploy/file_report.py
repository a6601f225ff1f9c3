"""`inspect_litert`: what is in a .tflite file, whoever made it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.delegation import Delegation, delegation_of
from tf_metacompress.deploy.file_counts import (
    OpCount,
    TypeCount,
    WeightZeros,
    count_ops,
    count_types,
    count_zeros,
    stored_mode,
)
from tf_metacompress.deploy.file_remarks import remark
from tf_metacompress.deploy.file_tables import (
    delegation_lines,
    kib,
    metadata_lines,
    op_lines,
    printable,
    signature_lines,
    size_line,
    type_lines,
    weight_lines,
)
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.io_signatures import Signature, read_signatures
from tf_metacompress.deploy.litert_process import RefusedFileError, Turns, run_in_process
from tf_metacompress.deploy.machine import Machine, this_machine
from tf_metacompress.deploy.micro import measured_arena
from tf_metacompress.deploy.model_metadata import ModelMetadata, metadata_of
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import FileSizes, measure_sizes
from tf_metacompress.errors import DeviceError, UnsupportedModelError

_WIDEST_LINE, _WIDEST_REMARK = 100, 1000
_NO_MICRO = "The arena for a microcontroller is not measured: pip install 'tf_metacompress[micro]'."


@dataclass(frozen=True, kw_only=True)
class FileReport(Record):
    """What is in a file, and what the runtime of this machine makes of it. Nothing is timed.

    Attributes:
        path: The file.
        sha256: Hash of the file, hexadecimal.
        description: What its maker wrote into it.
        mode: The export mode that makes such a file; also "uint8", "weight_only" (integers that are
            made floats before use), "mixed" for several, "none" for a file without weights.
        sizes: File, gzip, constant and non-zero bytes.
        num_subgraphs: Its subgraphs; the first is the one that runs, others are bodies of loops and
            branches or signatures of their own.
        ops: Its operators.
        types: Its tensors by stored type.
        weights: Zeros of each tensor of weights or biases.
        signatures: What goes in and comes out, the main way to call it first.
        machine: The machine and the runtime that `delegation` and `refused` are of.
        delegation: How that runtime splits the main subgraph; None when it does not tell.
        refused: Why that runtime does not run the file, None if it does.
        arena_bytes: Smallest arena that TensorFlow Lite Micro starts it in, with its portable
            kernels on this machine; None if that was not measured or it does not run the file.
        metadata_names: Names of its metadata entries.
        metadata: What this package wrote into it, None if nothing.
        remarks: What to know of it, in plain words.
    """

    path: str
    sha256: str
    description: str
    mode: str
    sizes: FileSizes
    num_subgraphs: int
    ops: tuple[OpCount, ...]
    types: tuple[TypeCount, ...]
    weights: tuple[WeightZeros, ...]
    signatures: tuple[Signature, ...]
    machine: Machine
    delegation: Delegation | None
    refused: str | None
    arena_bytes: int | None
    metadata_names: tuple[str, ...]
    metadata: ModelMetadata | None
    remarks: tuple[str, ...] = ()

    @property
    def num_ops(self) -> int:
        """Operators in all subgraphs."""
        return sum(entry.count for entry in self.ops)

    @property
    def nonzero_share(self) -> float:
        """Share of weights and biases that are not zero, in [0, 1]."""
        return self.sizes.nonzero_share

    @property
    def sparsity(self) -> float:
        """Share of weights and biases that are zero, in [0, 1]."""
        return 1.0 - self.nonzero_share

    def __str__(self) -> str:
        """Prints tables of operators, types, weights, inputs and outputs, and the remarks."""
        blocks = (
            self._head(),
            op_lines(self.ops),
            type_lines(self.types),
            weight_lines(self.weights, self.sparsity),
            signature_lines(self.signatures),
            self._runtime(),
            metadata_lines(self.metadata_names, self.metadata),
            (f"! {printable(text, _WIDEST_REMARK)}" for text in self.remarks),
        )
        return "\n\n".join(text for text in map("\n".join, blocks) if text)

    def _head(self) -> Iterator[str]:
        graphs = "" if self.num_subgraphs == 1 else f" in {self.num_subgraphs} subgraphs"
        yield f"{self.path} ({self.mode}): {self.num_ops} operators{graphs}"
        yield f"  {size_line(self.sizes)}"
        if self.description:
            yield f"  {printable(self.description, _WIDEST_LINE)}"

    def _runtime(self) -> Iterator[str]:
        where = f"LiteRT {self.machine.litert} on {self.machine.architecture}: "
        if self.refused is not None:
            yield f"{where}does not run it"
        elif self.delegation is None:
            yield f"{where}runs it, but does not tell what a delegate takes"
        else:
            first, *rest = delegation_lines(self.delegation)
            yield from (where + first, *rest)
        if self.arena_bytes is not None:
            yield f"TensorFlow Lite Micro: arena {kib(self.arena_bytes)}"


def inspect_litert(path: PathLike) -> FileReport:
    """Looks into a .tflite file, whoever made it.

    The file is checked, then opened with the runtime in a process of its own, but not run. With the
    extra `micro` it runs once on TensorFlow Lite Micro, likewise, to find its arena.

    Args:
        path: The file.

    Returns:
        Its operators, types, zeros, sizes, inputs and outputs, delegate partitions, arena and
        metadata.

    Raises:
        CorruptFileError: If it is damaged, its metadata are, or the runtime crashes on it; this
            process survives it.
        InvalidArgumentError: If there is no such file.
    """
    file = read_flatfile(read_model_file(path), str(path))
    try:
        (run,) = run_in_process([file.data], [str(path)], Turns()).files
        report = describe_file(file, str(path), delegation_of(run.operators))
    except (RefusedFileError, UnsupportedModelError) as error:
        report = describe_file(file, str(path), None, refused=str(error))
    arena, said = _arena(file, str(path))
    return replace(report, arena_bytes=arena, remarks=(*report.remarks, *said))


def _arena(file: FlatFile, path: str) -> tuple[int | None, tuple[str, ...]]:
    """Measures the arena for a microcontroller, or says why there is none."""
    try:
        arena = measured_arena(file, path)
    except (UnsupportedModelError, DeviceError) as error:
        return None, (str(error),)
    return arena, (_NO_MICRO,) if arena is None else ()


def describe_file(
    file: FlatFile, path: str, delegation: Delegation | None, *, refused: str | None = None
) -> FileReport:
    """Describes a file that was checked and opened.

    Args:
        file: The checked file.
        path: What to call it.
        delegation: How the runtime of this machine splits it.
        refused: Why the runtime does not run it.

    Returns:
        The report.

    Raises:
        CorruptFileError: If its signatures or metadata lead nowhere.
    """
    report = FileReport(
        path=path,
        sha256=hashlib.sha256(file.data).hexdigest(),
        description=file.description,
        mode=stored_mode(file),
        sizes=measure_sizes(file),
        num_subgraphs=len(file.subgraphs),
        ops=count_ops(file),
        types=count_types(file),
        weights=count_zeros(file),
        signatures=read_signatures(file),
        machine=this_machine(),
        delegation=delegation,
        refused=refused,
        arena_bytes=None,
        metadata_names=file.metadata_names,
        metadata=metadata_of(file.data),
    )
    reasons: Sequence[str] = () if refused is None else (refused,)
    return replace(report, remarks=(*reasons, *remark(report, file)))
