"""`export_litert`: a Keras model as a checked .tflite file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import keras

from tf_metacompress.atomic import PathLike, write_bytes, write_text
from tf_metacompress.deploy.export_job import Job, Made
from tf_metacompress.deploy.export_request import ExportExtras, check_request
from tf_metacompress.deploy.model_metadata import metadata_json
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.errors import ParityError, invalid, wrong_type
from tf_metacompress.policy import Policy
from tf_metacompress.typing import ExportMode, IoDtype


def export_litert(
    model: keras.Model,
    path: PathLike,
    *,
    mode: ExportMode = "float32",
    representative_dataset: Any = None,
    policy: Policy | None = None,
    io_dtype: IoDtype = "float32",
    tolerance: float | None = None,
    **extras: Unpack[ExportExtras],
) -> ExportReport:
    """Writes a Keras model as a .tflite file that was run and compared with Keras.

    The file has a static batch size of one and named inputs and outputs. It is run on the
    representative data; if any output lies further from Keras than `tolerance`, nothing is written,
    an earlier file stays as it was, and the error names the first layer where the two part.
    Files with integers hold equal zero points and scales once.

    Args:
        model: A built Keras 3 model of any kind, or what `compress` returned. It is not changed.
        path: The file to write, usually ending in ".tflite".
        mode: "float32", "float16" (stored weights), "dynamic" (int8 weights), "int8" (integer
            weights and activations; weights on a grid of up to 8 bits lose nothing, and those of
            dense layers are packed where 4 bits hold them: see `packed`), "int16x8" (int8 weights,
            int16 activations: slower, nearly exact), "sparse" (float32 with kernels of many zeros
            in the sparse encoding: faster on ARM only) or "mixed" (each layer as the policy says;
            layers that it leaves alone stay in float32).
        representative_dataset: Inputs, an array of shape (N, ...), or several arrays in order or
            by input name. Needed by all modes with integer activations, for the ranges that
            training did not leave; at most 512 samples, evenly spaced, are used.
        policy: What mode "mixed" stores of each layer. None takes what the student of `compress`
            was trained with.
        io_dtype: Type of the file's inputs and outputs; "int8" goes with mode "int8" only.
        tolerance: Largest accepted root-mean-square error of an output, relative to the root mean
            square of what Keras gives (a student that rounds its activations, if it is given and
            the mode has integer ones); free of scale. None takes the mode's own: 1e-4 for float32
            (order of summation), 0.05 for float16 (11 significant bits, many layers), 0.25 for
            all with integers (on confident class probabilities 3 % other answers; sound files show
            0.01 to 0.1, collapsed ones about 1).
        **extras: `metadata`, a ModelMetadata to write into the file and, as JSON, into
            "<path>.json" beside it: `ModelMetadata()` is enough, as policy, versions and the hash
            of the Keras model are filled in; None writes neither. `targets`, the right answers for
            `representative_dataset`, to score Keras and file with: classes or values, an array for
            the first output or arrays by name. `per_layer=True` compares layer by layer even if
            the outputs agree. `dynamic_batch=True` leaves the batch size open. `slim=True` names
            inner tensors after layers, not after all that the converter fused, and drops its notes:
            computed alike, 5 KB less in the file of ResNet-8. `packed`, in modes "int8" and
            "mixed", says where weights that 4 bits hold take half a byte: "dense" layers, as fast
            as int8; "all", also Conv2D, the smallest file and download, but XNNPACK leaves those
            convolutions to slower kernels (on x86 ResNet-8 takes 1.9 times as long); "conv", which
            TensorFlow Lite Micro runs, as it refuses packed dense layers (its arena grows by the
            weights of one layer); "none". Depthwise kernels are packed by no runtime.

    Returns:
        What was written and how it was checked.

    Raises:
        ParityError: If the file does not compute what Keras computes; its `report` says how far.
        UnsupportedModelError: If the model cannot be converted.
        InvalidArgumentError: If an argument is not allowed or the path cannot be written.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = export_litert(model, tempfile.mkdtemp() + "/model.tflite")
        >>> report.mode, report.parity.passed
        ('float32', True)
    """
    request = check_request(path, mode, io_dtype, tolerance, extras)
    made = Job.begin(model, request, representative_dataset, [policy]).make(request, policy)
    _check_parity(made.report)
    _write(made)
    return made.report


def export_policies(
    model: keras.Model,
    folder: PathLike,
    policies: Mapping[str, Policy],
    *,
    representative_dataset: Any,
    tolerance: float | None = None,
    **extras: Unpack[ExportExtras],
) -> dict[str, ExportReport]:
    """Writes a model in mode "mixed" under several policies, converting it once.

    Conversion is most of the time of an export; a search over policies that differ in bits, not in
    weights, needs it only once.

    Args:
        model: A built Keras 3 model of any kind. It is not changed.
        folder: Where "<name>.tflite" is written for each policy.
        policies: Name to policy.
        representative_dataset: As for `export_litert`.
        tolerance: Likewise.
        **extras: Likewise.

    Returns:
        Name to report, in the order of `policies`. Of a file that does not compute what Keras
        computes, `report.parity.passed` is false and nothing is written.

    Raises:
        UnsupportedModelError: If the model cannot be converted or quantised.
        InvalidArgumentError: If an argument is not allowed or the folder cannot be written.
    """
    paths = _paths(folder, policies)
    requests = {
        name: check_request(path, "mixed", "float32", tolerance, extras)
        for name, path in paths.items()
    }
    first = next(iter(requests.values()))
    job = Job.begin(model, first, representative_dataset, list(policies.values()))
    reports = {}
    for name, policy in policies.items():
        made = job.make(requests[name], policy)
        if made.report.parity.passed:
            _write(made)
        reports[name] = made.report
    return reports


def _paths(folder: PathLike, policies: Mapping[str, Policy]) -> dict[str, Path]:
    if not isinstance(policies, Mapping):
        raise wrong_type("`policies` must map names to policies.", policies=policies)
    if not policies:
        raise invalid("`policies` must not be empty.", policies=policies)
    for name, policy in policies.items():
        if not isinstance(policy, Policy):
            raise wrong_type("`policies` must map names to policies.", **{str(name): policy})
        if not isinstance(name, str) or Path(name).name != name:
            raise invalid("A name must be that of a file, without a folder.", name=name)
    return {name: Path(folder) / f"{name}.tflite" for name in policies}


def _check_parity(report: ExportReport) -> None:
    parity = report.parity
    if parity.passed:
        return
    worst = parity.worst
    error = "NaN or infinite" if math.isinf(worst.max_abs_error) else f"{worst.relative_error:.3g}"
    agreement = "" if worst.agreement is None else f", same class on {worst.agreement:.1%}"
    raise ParityError(
        f"The {report.mode} file does not compute what Keras computes, so nothing was written. "
        f"Received: output {worst.name!r} with relative error {error}, tolerance "
        f"{parity.tolerance:g}{agreement}, {parity.num_samples} samples. {parity.where_apart()} "
        "Use representative data like those of deployment, a mode with more bits, or a larger "
        "`tolerance`.",
        report=report,
    )


def _write(made: Made) -> None:
    write_bytes(made.report.path, made.data)
    if made.metadata is not None:
        write_text(f"{made.report.path}.json", metadata_json(made.data, made.metadata))
