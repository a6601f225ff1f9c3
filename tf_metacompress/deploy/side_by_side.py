"""`compare_files`: what differs between .tflite files, and which is faster."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.comparison import ComparedFile, ComparisonResult, compare
from tf_metacompress.deploy.file_report import FileReport, describe_file
from tf_metacompress.deploy.file_tables import kib, printable
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.records import Record
from tf_metacompress.text_table import lay_out


@dataclass(frozen=True, kw_only=True)
class CountDifference(Record):
    """Something that the files do not all have as often.

    Attributes:
        kind: "operator", or "constants" or "activations" of a type.
        name: The operator, or the type.
        counts: How often each file has it, in the order of the files.
    """

    kind: str
    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SideBySide(Record):
    """Several files beside each other.

    Attributes:
        files: What is in each.
        differences: Operators and types that they do not all have as often.
        timing: Their latency, measured in turns on this machine.
    """

    files: tuple[FileReport, ...]
    differences: tuple[CountDifference, ...]
    timing: ComparisonResult

    def __str__(self) -> str:
        """Prints a table of sizes and times, and one of what differs."""
        return "\n".join([*self._times(), "", *self._differences()])

    def _times(self) -> list[str]:
        rows = [
            (
                letter,
                report.mode,
                kib(report.sizes.file_bytes),
                kib(report.sizes.gzip_bytes),
                kib(report.sizes.constant_bytes),
                f"{report.sparsity:.1%}",
                f"{timed.p50_ms:.3f} ms",
                f"{timed.ratio:.3f} [{timed.ratio_low:.3f}, {timed.ratio_high:.3f}]",
            )
            for letter, report, timed in self._lettered()
        ]
        timing = self.timing
        return [
            *(f"{letter}: {report.path}" for letter, report, _ in self._lettered()),
            f"on {timing.device}: {timing.machine.cpu}, {timing.num_threads} thread(s), "
            f"LiteRT {timing.machine.litert}",
            "",
            *lay_out(
                ("", "mode", "file", "gzip", "constants", "zeros", "p50", "time of A = 1"),
                rows,
                num_left=2,
            ),
        ]

    def _lettered(self) -> list[tuple[str, FileReport, ComparedFile]]:
        letters = [_letter(index) for index in range(len(self.files))]
        return list(zip(letters, self.files, self.timing.files, strict=True))

    def _differences(self) -> list[str]:
        if not self.differences:
            return ["The files have the same operators and types."]
        header = ("differs", "", *(letter for letter, _, _ in self._lettered()))
        rows = [
            (entry.kind, printable(entry.name), *map(str, entry.counts))
            for entry in self.differences
        ]
        return lay_out(header, rows, num_left=2)


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"#{index + 1}"


def compare_files(
    paths: Sequence[PathLike],
    *,
    num_threads: int = 1,
    num_blocks: int = 9,
    runs_per_block: int = 20,
) -> SideBySide:
    """Sets files beside each other: sizes, what is in them, and their latency here.

    Args:
        paths: At least two files; times are compared with the first.
        num_threads: Threads the runtime may use.
        num_blocks: How often each file has its turn, as for `compare`.
        runs_per_block: Runs a turn.

    Returns:
        Reports, differences and times.

    Raises:
        CorruptFileError: If a file is damaged; this process survives it.
        UnsupportedModelError: If a file needs an operator that the runtime does not have.
        InvalidArgumentError: If a file is missing or a count is out of range.
    """
    timing = compare(
        paths, num_threads=num_threads, num_blocks=num_blocks, runs_per_block=runs_per_block
    )
    contents = [read_flatfile(read_model_file(path), str(path)) for path in paths]
    files = tuple(
        describe_file(file, timed.path, timed.delegation)
        for file, timed in zip(contents, timing.files, strict=True)
    )
    return SideBySide(files=files, differences=differences(files), timing=timing)


def differences(files: Sequence[FileReport]) -> tuple[CountDifference, ...]:
    """Lists operators and types that files do not all have as often.

    Args:
        files: What is in each.

    Returns:
        Operators first, each kind in the order in which it first occurs.
    """
    counted: list[dict[tuple[str, str], int]] = []
    for report in files:
        counts: dict[tuple[str, str], int] = {}
        for entry in report.ops:
            key = ("operator", entry.op)
            counts[key] = counts.get(key, 0) + entry.count
        counts |= {("constants", entry.type): entry.constants for entry in report.types}
        counts |= {("activations", entry.type): entry.activations for entry in report.types}
        counted.append(counts)
    kinds = ("operator", "constants", "activations")
    keys = dict.fromkeys(key for counts in counted for key in counts)
    rows = [(*key, tuple(counts.get(key, 0) for counts in counted)) for key in keys]
    return tuple(
        CountDifference(kind=kind, name=name, counts=each)
        for kind, name, each in sorted(rows, key=lambda row: kinds.index(row[0]))
        if len(set(each)) > 1
    )
