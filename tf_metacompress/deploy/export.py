"""`export_litert`: a Keras model as a checked .tflite file."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

import keras

from tf_metacompress.anatomy import check_keras_model, kernel_arrays
from tf_metacompress.anatomy.signature import model_signature
from tf_metacompress.atomic import PathLike, write_bytes, write_text
from tf_metacompress.compression import finalize
from tf_metacompress.deploy.advice import advise
from tf_metacompress.deploy.convert import Conversion, convert_float
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.deploy.deviations import Asked, TensorDeviation, find_deviations
from tf_metacompress.deploy.execution import layer_executions
from tf_metacompress.deploy.export_request import (
    ExportExtras,
    Request,
    check_data,
    check_plans,
    check_request,
    trained_plans,
)
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.inspection import layer_storage, tensors_not_int8
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_formats import op_formats
from tf_metacompress.deploy.model_digest import model_digest
from tf_metacompress.deploy.model_metadata import (
    ModelMetadata,
    check_metadata,
    metadata_json,
    with_metadata,
)
from tf_metacompress.deploy.modes import CalibrationSamples, ModeOptions
from tf_metacompress.deploy.parity import ParityReport
from tf_metacompress.deploy.proof import Proof, Source
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.deploy.sizes import gzip_size, measure_sizes
from tf_metacompress.deploy.task_scores import check_targets
from tf_metacompress.deploy.trained_ranges import trained_ranges
from tf_metacompress.errors import ParityError, UnsupportedModelError
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import LayerPlan, Policy
from tf_metacompress.typing import ExportMode, IoDtype
from tf_metacompress.wrappers import CompressedModel

_MAX_CALIBRATION = 512
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer")


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

    Args:
        model: A built Keras 3 model of any kind, or what `compress` returned. It is not changed.
        path: The file to write, usually ending in ".tflite".
        mode: "float32", "float16" (stored weights), "dynamic" (int8 weights), "int8" (integer
            weights and activations; weights on a grid of up to 8 bits lose nothing, and those of
            dense layers are packed where 4 bits hold them), "int16x8" (int8 weights, int16
            activations: slower, nearly exact), "sparse" (float32 with kernels of many zeros in
            the sparse encoding: faster on ARM only) or "mixed" (each layer as the policy says;
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
            the outputs agree. `dynamic_batch=True` leaves the batch size open.

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
    check_keras_model(model)
    plain = finalize(model) if isinstance(model, CompressedModel) else model
    plans = check_plans(model, plain, policy, request.mode)
    samples = check_data(representative_dataset, request.mode, model_signature(plain))
    calibration = samples.spread(_MAX_CALIBRATION) if request.mode.needs_data else None
    source = Source(
        conversion=convert_float(plain, dynamic_batch=request.dynamic_batch),
        kernels=kernel_arrays(plain, folded=True),
    )
    metadata = _metadata(request, model, plain, policy, source.file)
    targets = check_targets(request.targets, source.conversion.output_names, samples.num_given)
    trained = trained_ranges(model, plain, source.conversion, calibration)
    options = ModeOptions(
        io_dtype=request.io_dtype,
        ranges=trained.by_tensor,
        formats=op_formats(source.file, source.mapped, plans),
    )
    singles = calibration.singles() if calibration else []
    opened = _quantized(request, plain, source.conversion, singles, options, metadata)
    reference = model if trained.by_tensor else plain
    proof = Proof(model=plain, reference=reference, source=source, opened=opened)
    parity = proof.parity(samples, request.tolerance, request.per_layer, targets)
    report = replace(
        _report(request, source, opened, parity),
        deviations=_deviations(request, source, opened.file, plans, options),
        num_calibration_samples=len(singles),
        ranges=trained.use(opened.file),
    )
    report = replace(report, warnings=advise(report, opened.file))
    _check_parity(report)
    _write(report, opened.file.data, metadata)
    return report


def _metadata(
    request: Request,
    model: keras.Model,
    plain: keras.Model,
    policy: Policy | None,
    file: FlatFile,
) -> ModelMetadata | None:
    """Fills in what the user left open; None if the file shall say nothing."""
    said = request.metadata
    if said is None:
        return None
    check_metadata(said, file)
    plans = trained_plans(model)
    chosen = policy or (Policy.from_plans(plans) if plans else None)
    return replace(
        said,
        policy=said.policy or (json.loads(chosen.to_json()) if chosen else None),
        versions=said.versions or _versions(),
        keras_sha256=model_digest(plain),
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _way_out(model: keras.Model) -> str:
    layers = leaf_layers(model).items()
    unrolled = [path for path, layer in layers if getattr(layer, "unroll", False)]
    if unrolled:
        names = ", ".join(map(repr, unrolled))
        return (
            f"An unrolled loop is the likely reason: build {names} with unroll=False and load the "
            "weights, or use mode 'float16'."
        )
    return "Use mode 'dynamic' or 'float16'."


def _quantized(
    request: Request,
    model: keras.Model,
    conversion: Conversion,
    calibration: CalibrationSamples,
    options: ModeOptions,
    metadata: ModelMetadata | None,
) -> LitertModel:
    try:
        data = request.mode.quantize(conversion.data, calibration, options)
        data = data if metadata is None else with_metadata(data, metadata)
        return LitertModel.open(data, trusted=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UnsupportedModelError(
            f"The model cannot be exported in mode {request.mode.name!r}: {reason}. "
            f"{_way_out(model)}"
        ) from error


def _report(
    request: Request, source: Source, opened: LitertModel, parity: ParityReport
) -> ExportReport:
    int8 = request.mode.name == "int8"
    layers = layer_storage(opened.file, source.mapped, source.file)
    found = {entry.layer for entry in layers}
    sparse = any(entry.sparse for entry in layers)
    return ExportReport(
        path=request.path,
        mode=request.mode.name,
        io_dtype=request.io_dtype,
        sha256=hashlib.sha256(opened.file.data).hexdigest(),
        sizes=measure_sizes(opened.file),
        layers=layers,
        layers_not_found=tuple(name for name in source.kernels if name not in found),
        not_int8=tensors_not_int8(opened.file) if int8 else (),
        executions=layer_executions(opened, source.mapped),
        delegation=read_delegation(opened),
        parity=parity,
        versions=_versions(),
        dense_gzip_bytes=gzip_size(source.file.data) if sparse else None,
    )


def _deviations(
    request: Request,
    source: Source,
    file: FlatFile,
    plans: Sequence[LayerPlan],
    options: ModeOptions,
) -> tuple[TensorDeviation, ...]:
    asked = Asked(
        mode=request.mode.name,
        io_dtype=request.io_dtype,
        plans=plans,
        formats=options.formats,
    )
    return find_deviations(file, source.mapped, asked)


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


def _write(report: ExportReport, data: bytes, metadata: ModelMetadata | None) -> None:
    write_bytes(report.path, data)
    if metadata is not None:
        write_text(f"{report.path}.json", metadata_json(data, metadata))
