"""One candidate policy carried through: fine-tune, export, check, measure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import compressible_layers, copy_model
from tf_metacompress.callbacks import MetaCompress
from tf_metacompress.deploy import ExportReport, LitertModel, compare, export_litert, get_mode
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.stages import Stages
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.policy import Policy
from tf_metacompress.sparsity import measure_sparsity
from tf_metacompress.typing import ArrayPair

_CALIBRATION_EXAMPLES = 256
_SUPPORT_EXAMPLES = 512
_FLOAT_BITS = 32.0
_ANY_ERROR = 1e9


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the closing table.

    Attributes:
        name: What was done.
        accuracy: Share of the test set that the .tflite gets right under LiteRT.
        file_bytes: Size of the file.
        gzip_bytes: Size of the file after gzip.
        sparsity: Share of zeros among the kernels.
        mean_weight_bits: Mean bits of a kernel weight.
        parity_error: Largest absolute difference of an output from Keras.
        relative_error: Root-mean-square error of the outputs relative to those of Keras.
        tolerance: The relative error up to which `export_litert` writes a file of this mode.
        warnings: What `export_litert` says of the file.
        file: Its name in the folder of the stages.
    """

    name: str
    accuracy: float
    file_bytes: int
    gzip_bytes: int
    sparsity: float
    mean_weight_bits: float
    parity_error: float
    relative_error: float
    tolerance: float
    warnings: tuple[str, ...]
    file: str

    @property
    def parity_passed(self) -> bool:
        """Whether `export_litert` would have written it with its usual tolerance."""
        return self.relative_error <= self.tolerance

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Row":
        """Reads a row from JSON data."""
        return cls(**{**data, "warnings": tuple(data["warnings"])})


def slug(name: str) -> str:
    """Turns the name of a row into part of a file name.

    Args:
        name: Such as "Φ adapted".

    Returns:
        Such as "phi-adapted".
    """
    return re.sub(r"[^a-z0-9]+", "-", name.replace("Φ", "phi").lower()).strip("-")


def litert_accuracy(path: str | Path, x: np.ndarray, y: np.ndarray) -> float:
    """Runs a .tflite classifier on a test set.

    Args:
        path: The file.
        x: Inputs.
        y: Class indices.

    Returns:
        Share of correct predictions.
    """
    predictions = LitertModel.open(path, trusted=True).predict(x)
    return float(np.mean(predictions.argmax(axis=-1) == y))


def representative_examples(data: Dataset) -> ArrayPair:
    """Training examples for ranges and parity: a few hundred, evenly spaced."""
    x, y = data.train
    rows = np.linspace(0, len(x) - 1, min(len(x), _CALIBRATION_EXAMPLES)).astype(int)
    return x[rows], y[rows]


def representative(data: Dataset) -> np.ndarray:
    """The inputs of `representative_examples`."""
    return representative_examples(data)[0]


def few_examples(data: Dataset, seed: int) -> ArrayPair:
    """Training examples to adapt a policy on: at most 512, drawn at random."""
    x, y = data.train
    rows = np.random.default_rng(seed).permutation(len(x))[:_SUPPORT_EXAMPLES]
    return x[rows], y[rows]


def _row(
    name: str, report: ExportReport, model: keras.Model, bits: float, path: Path, data: Dataset
) -> dict[str, Any]:
    row = Row(
        name=name,
        accuracy=litert_accuracy(path, *data.test),
        file_bytes=report.file_bytes,
        gzip_bytes=report.gzip_bytes,
        sparsity=measure_sparsity(model).total,
        mean_weight_bits=bits,
        parity_error=report.parity.max_abs_error,
        relative_error=report.parity.relative_error,
        tolerance=get_mode(report.mode).tolerance,
        warnings=report.warnings,
        file=path.name,
    )
    return asdict(row)


def float_row(
    stages: Stages, model: keras.Model, data: Dataset, *, needs: Sequence[str] = ()
) -> Row:
    """Exports the uncompressed model.

    Args:
        stages: Where results are kept.
        model: A trained classifier.
        data: Its data set.
        needs: Stages that the model comes from.

    Returns:
        The first row of the table.
    """
    path = stages.path("float32.tflite")

    def make() -> dict[str, Any]:
        report = export_litert(
            model, path, mode="float32", representative_dataset=representative(data)
        )
        return _row("float32", report, model, _FLOAT_BITS, path, data)

    return Row.from_data(stages.data("row-float32", make, files=(path.name,), needs=needs))


def try_int8(stages: Stages, model: keras.Model, data: Dataset) -> None:
    """Exports the uncompressed model as int8 once, before anything is trained for it.

    Args:
        stages: Where results are kept.
        model: A trained classifier.
        data: Its data set.

    Raises:
        UnsupportedModelError: If the model holds what int8 cannot express.
    """
    path = stages.path("untrained-int8.tflite")

    def make() -> dict[str, Any]:
        report = export_litert(
            model,
            path,
            mode="int8",
            representative_dataset=representative(data),
            tolerance=_ANY_ERROR,
        )
        return {"gzip_bytes": report.gzip_bytes}

    stages.data("int8-trial", make, files=(path.name,))


def candidate_row(
    stages: Stages,
    name: str,
    model: keras.Model,
    policy: Policy,
    data: Dataset,
    training: Training,
    *,
    needs: Sequence[str] = (),
) -> Row:
    """Fine-tunes a copy of a model under a policy, exports it as int8 and measures the file.

    Args:
        stages: Where results are kept.
        name: Name of the row.
        model: A trained classifier; it is not changed.
        policy: What happens to each layer.
        data: Its data set.
        training: How to fine-tune.
        needs: Stages that the model and the policy come from.

    Returns:
        A row of the table.
    """
    path = stages.path(f"{slug(name)}.tflite")

    def make() -> dict[str, Any]:
        keras.utils.set_random_seed(0)
        student = train(
            copy_model(model),
            data.train,
            training,
            description=name,
            callbacks=[MetaCompress(policy=policy)],
        )
        # A policy that ruins the model is a row of the table, not the end of the run.
        report = export_litert(
            student,
            path,
            mode="int8",
            representative_dataset=representative(data),
            tolerance=_ANY_ERROR,
        )
        bits = policy.mean_weight_bits(compressible_layers(model))
        return _row(name, report, student, bits, path, data)

    return Row.from_data(stages.data(f"row-{slug(name)}", make, files=(path.name,), needs=needs))


def latency_ratios(stages: Stages, rows: Sequence[Row], num_blocks: int = 9) -> dict[str, Any]:
    """Times the files of all rows in turns, on this machine.

    Args:
        stages: Where results are kept.
        rows: The rows; ratios are to the first.
        num_blocks: Interleaved blocks.

    Returns:
        The comparison as JSON data, with names for paths.
    """

    def make() -> dict[str, Any]:
        result = compare([stages.path(row.file) for row in rows], num_blocks=num_blocks).to_dict()
        files = [{**entry, "path": Path(entry["path"]).name} for entry in result["files"]]
        return {**result, "files": files}

    return stages.data("latency", make, needs=[f"row-{slug(row.name)}" for row in rows])
