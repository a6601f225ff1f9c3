"""`export_litert`: a Keras model as a checked .tflite file."""

import hashlib
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import check_keras_model, kernel_arrays
from tf_metacompress.atomic import PathLike, check_writable, write_bytes
from tf_metacompress.compression import finalize
from tf_metacompress.deploy.advice import advise
from tf_metacompress.deploy.convert import Conversion, convert_float
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.inspection import layer_storage, tensors_not_int8
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_map import map_layers
from tf_metacompress.deploy.modes import CalibrationSamples, Mode, ModeOptions, get_mode
from tf_metacompress.deploy.parity import ParityReport, compare_outputs
from tf_metacompress.deploy.reference import keras_outputs
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.deploy.samples import Samples, check_samples, random_samples
from tf_metacompress.deploy.signature import ModelSignature, model_signature
from tf_metacompress.deploy.sizes import measure_sizes
from tf_metacompress.errors import (
    ParityError,
    UnsupportedModelError,
    check_choice,
    check_positive,
    invalid,
)
from tf_metacompress.typing import ExportMode, IoDtype
from tf_metacompress.wrappers import CompressedModel

_MAX_CALIBRATION = 512
_MAX_PARITY = 256
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer")


def export_litert(
    model: keras.Model,
    path: PathLike,
    *,
    mode: ExportMode = "float32",
    representative_dataset: Any = None,
    io_dtype: IoDtype = "float32",
    tolerance: float | None = None,
) -> ExportReport:
    """Writes a Keras model as a .tflite file that was run and compared with Keras.

    The file has a static batch size of one and named inputs and outputs. It is run on the
    representative data; if any output lies further from Keras than `tolerance`, nothing is written
    and an earlier file stays as it was.

    Args:
        model: A built Keras 3 model of any kind, or what `compress` returned. It is not changed.
        path: The file to write, usually ending in ".tflite".
        mode: "float32", "float16" (stored weights), "dynamic" (int8 weights) or "int8" (integer
            weights and activations; weights on the 4-bit grid lose nothing, and those of dense
            layers are packed into 4 bits).
        representative_dataset: Inputs, an array of shape (N, ...), or several arrays in order or
            by input name. Needed by "int8"; at most 512 samples, evenly spaced, are used.
        io_dtype: Type of the file's inputs and outputs; "int8" goes with mode "int8" only.
        tolerance: Largest accepted root-mean-square error of an output, relative to the root mean
            square of what Keras gives; free of scale. None takes the mode's own: 1e-4 for float32
            (order of summation), 0.05 for float16 (11 significant bits, many layers), 0.25 for
            dynamic and int8 (on confident class probabilities 3 % other answers; sound files show
            0.01 to 0.1, collapsed ones about 1).

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
    request = _check_request(path, mode, io_dtype, tolerance)
    check_keras_model(model)
    plain = finalize(model) if isinstance(model, CompressedModel) else model
    samples = _samples(representative_dataset, request.mode, model_signature(plain))
    calibration = samples.spread(_MAX_CALIBRATION).singles() if request.mode.needs_data else []
    conversion = convert_float(plain)
    opened = _quantized(request, conversion, calibration)
    parity = _parity(plain, conversion, opened, samples.spread(_MAX_PARITY), request.tolerance)
    kernels = kernel_arrays(plain, folded=True)
    report = _report(request, kernels, conversion, opened, parity)
    missing = tuple(name for name in kernels if name not in report.stored_types)
    report = replace(report, layers_not_found=missing, num_calibration_samples=len(calibration))
    report = replace(report, warnings=advise(report, opened.file))
    _check_parity(report)
    write_bytes(path, opened.file.data)
    return report


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What the user asked for, checked."""

    path: str
    mode: Mode
    io_dtype: IoDtype
    tolerance: float


def _check_request(
    path: PathLike, mode: ExportMode, io_dtype: IoDtype, tolerance: float | None
) -> _Request:
    chosen = get_mode(mode)
    check_choice("io_dtype", io_dtype, ("float32", "int8"))
    if io_dtype not in chosen.io_dtypes:
        raise invalid(
            f"`io_dtype` must be 'float32' in mode {mode!r}.",
            "Only mode 'int8' takes and gives int8.",
            io_dtype=io_dtype,
        )
    limit = chosen.tolerance if tolerance is None else check_positive("tolerance", tolerance)
    if check_writable(path).is_dir():
        raise invalid("`path` must name a file, not a directory.", path=str(path))
    return _Request(path=str(path), mode=chosen, io_dtype=io_dtype, tolerance=limit)


def _samples(dataset: Any, mode: Mode, signature: ModelSignature) -> Samples:
    if dataset is not None:
        return check_samples(dataset, signature)
    if mode.needs_data:
        raise invalid(
            f"Mode {mode.name!r} needs `representative_dataset`.",
            "Pass a few hundred inputs, for example x_train[:500].",
            representative_dataset=dataset,
        )
    return random_samples(signature)


def _quantized(
    request: _Request, conversion: Conversion, calibration: CalibrationSamples
) -> LitertModel:
    options = ModeOptions(io_dtype=request.io_dtype)
    try:
        data = request.mode.quantize(conversion.data, calibration, options)
        return LitertModel.open(data, trusted=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UnsupportedModelError(
            f"The model cannot be exported in mode {request.mode.name!r}: {reason}. "
            "Use mode 'dynamic' or 'float16'."
        ) from error


def _parity(
    model: keras.Model, conversion: Conversion, opened: LitertModel, samples: Samples, limit: float
) -> ParityReport:
    expected = keras_outputs(model, conversion.signature, conversion.output_names, samples)
    actual = opened.run(samples.arrays)
    return compare_outputs(expected, actual, tolerance=limit, source=samples.source)


def _report(
    request: _Request,
    kernels: Mapping[str, Sequence[np.ndarray]],
    conversion: Conversion,
    opened: LitertModel,
    parity: ParityReport,
) -> ExportReport:
    int8 = request.mode.name == "int8"
    trained = read_flatfile(conversion.data)
    return ExportReport(
        path=request.path,
        mode=request.mode.name,
        io_dtype=request.io_dtype,
        sha256=hashlib.sha256(opened.file.data).hexdigest(),
        sizes=measure_sizes(opened.file),
        layers=layer_storage(opened.file, map_layers(trained, kernels), trained),
        not_int8=tensors_not_int8(opened.file) if int8 else (),
        delegation=read_delegation(opened),
        parity=parity,
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
    )


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
        f"{parity.tolerance:g}{agreement}, {parity.num_samples} samples. Use representative data "
        "like those of deployment, a mode with more bits, or a larger `tolerance`.",
        report=report,
    )
