"""What an export did, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.deviations import TensorDeviation
from tf_metacompress.deploy.execution import LayerExecution
from tf_metacompress.deploy.inspection import LayerStorage, TensorNote
from tf_metacompress.deploy.parity import ParityReport
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import FileSizes
from tf_metacompress.deploy.task_scores import ACCURACY, TaskScore

_KIB = 1024
_INT8_BITS = 8


@dataclass(frozen=True, kw_only=True)
class RangeUse(Record):
    """What became of the activation ranges of a student.

    Attributes:
        used: Layers whose results have their trained range in the file.
        other: Layers whose results were not found in the file, share the range of a neighbour, as
            those that only a Concatenate reads, or have a range that the runtime fixes, as of tanh.
            Results that the file computes in float32 are in neither.
    """

    used: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExportReport(Record):
    """Everything known of an exported file.

    Attributes:
        path: The file.
        mode: Its export mode.
        io_dtype: Type of its inputs and outputs.
        sha256: Hash of the file, hexadecimal.
        sizes: File, gzip and constant bytes, and the share of weights that are not zero.
        layers: How each kernel is stored, and in which tensor.
        layers_not_found: Keras layers with kernels that no tensor of the file resembles.
        not_int8: In mode "int8" every tensor that is not int8, with what it is; else empty.
        executions: What each kernel is computed with, and whether a delegate does it.
        deviations: Every tensor that is not what the mode or the policy asked for, and why.
        delegation: How the runtime of this machine splits the file, None when it does not tell.
        parity: Difference from Keras.
        ranges: Which layers have the activation ranges that they were trained with.
        num_calibration_samples: Samples that activation ranges were measured on; 0 for none.
        versions: Package name to version of what made the file.
        dense_gzip_bytes: In mode "sparse" the gzip bytes of the same file with its zeros written
            out; else None.
        warnings: What to know before deploying it, in plain words.
    """

    path: str
    mode: str
    io_dtype: str
    sha256: str
    sizes: FileSizes
    layers: tuple[LayerStorage, ...]
    layers_not_found: tuple[str, ...] = ()
    not_int8: tuple[TensorNote, ...]
    executions: tuple[LayerExecution, ...] = ()
    deviations: tuple[TensorDeviation, ...] = ()
    delegation: Delegation | None
    parity: ParityReport
    ranges: RangeUse = RangeUse()
    num_calibration_samples: int = 0
    versions: Mapping[str, str]
    dense_gzip_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self.sizes.file_bytes

    @property
    def gzip_bytes(self) -> int:
        """Size of the file after gzip level 9."""
        return self.sizes.gzip_bytes

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants within the file."""
        return self.sizes.constant_bytes

    @property
    def nonzero_share(self) -> float:
        """Share of weights and biases that are not zero, in [0, 1]."""
        return self.sizes.nonzero_share

    @property
    def delegate_partitions(self) -> int | None:
        """Parts of the graph that a delegate runs here, None when the runtime does not tell."""
        return self.delegation.partitions if self.delegation else None

    @property
    def stored_types(self) -> dict[str, str]:
        """Path of each layer to its stored type; several kernels are joined by "+"."""
        types: dict[str, list[str]] = {}
        for entry in self.layers:
            kinds = types.setdefault(entry.layer, [])
            if entry.stored not in kinds:
                kinds.append(entry.stored)
        return {layer: "+".join(kinds) for layer, kinds in types.items()}

    @property
    def layer_tensors(self) -> dict[str, tuple[str, ...]]:
        """Path of each layer to the names of its weight tensors in the file."""
        names: dict[str, tuple[str, ...]] = {}
        for entry in self.layers:
            names[entry.layer] = (*names.get(entry.layer, ()), entry.tensor)
        return names

    def __str__(self) -> str:
        """Prints a short table: sizes, parity, each layer's type, the warnings."""
        parts = (self._summary(), self._layer_lines(), self._parity_lines(), self._warning_lines())
        return "\n".join(line for lines in parts for line in lines)

    def _summary(self) -> list[str]:
        worst = self.parity.worst
        agreement = "" if worst.agreement is None else f", same class {worst.agreement:.1%}"
        parts = "not known" if self.delegation is None else f"{self.delegation.partitions}"
        return [
            f"{self.path} ({self.mode}, {self.io_dtype} in and out)",
            f"  file {_kib(self.file_bytes)}, gzip {_kib(self.gzip_bytes)}, "
            f"constants {_kib(self.constant_bytes)}, non-zero {self.nonzero_share:.1%}",
            f"  against Keras: relative error {worst.relative_error:.2g} "
            f"(tolerance {self.parity.tolerance:g}), largest {self.parity.max_abs_error:.2g}"
            f"{agreement}, {self.parity.num_samples} samples",
            *(_score_line(score) for score in self.parity.scores),
            f"  delegate partitions: {parts}; tensors not as asked: {len(self.deviations)}",
        ]

    def _layer_lines(self) -> list[str]:
        if not self.layers:
            return []
        width = max(len(entry.layer) for entry in self.layers)
        runs = {(one.layer, one.kernel): f"  runs in {one}" for one in self.executions}
        return [
            f"  {entry.layer:<{width}}  {entry.op:<18} {_type(entry):<20} {_loss(entry):<13} "
            f"{_kib(entry.constant_bytes):>11}  non-zero {entry.nonzero_share:6.1%}"
            f"{runs.get((entry.layer, entry.kernel), '')}"
            for entry in self.layers
        ]

    def _parity_lines(self) -> list[str]:
        if not self.parity.layers:
            return []
        width = max(len(one.layer) for one in self.parity.layers)
        lines = [
            f"  {one.layer:<{width}}  relative error {one.relative_error:<9.2g} "
            f"largest {one.max_abs_error:<9.2g} result of {one.result}"
            for one in self.parity.layers
        ]
        return ["  layer by layer against Keras:", *lines, f"  {self.parity.where_apart()}"]

    def _warning_lines(self) -> list[str]:
        return [f"  ! {warning}" for warning in self.warnings]


def _score_line(score: TaskScore) -> str:
    if score.measure == ACCURACY:
        return f"  accuracy of {score.output}: Keras {score.keras:.2%}, file {score.file:.2%}"
    return f"  rms error of {score.output}: Keras {score.keras:.4g}, file {score.file:.4g}"


def _type(entry: LayerStorage) -> str:
    on_grid = entry.grid_bits is not None and entry.grid_bits <= _INT8_BITS
    if entry.sparse:
        return f"{entry.stored}, sparse"
    return f"{entry.stored}, {entry.grid_bits}-bit grid" if on_grid else entry.stored


def _loss(entry: LayerStorage) -> str:
    return "exact" if entry.exact else f"off by {100 * entry.rounding_error:.2g}%"


def _kib(count: int) -> str:
    return f"{count / _KIB:,.1f} KiB"
