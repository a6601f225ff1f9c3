"""`export_litert`: a Keras model as a checked .tflite file."""

import hashlib
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import check_keras_model, describe, kernel_arrays
from tf_metacompress.anatomy.samples import Samples, check_samples, random_samples
from tf_metacompress.anatomy.signature import ModelSignature, model_signature
from tf_metacompress.atomic import PathLike, check_writable, write_bytes
from tf_metacompress.compression import finalize
from tf_metacompress.deploy.advice import advise
from tf_metacompress.deploy.convert import Conversion, convert_float
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.inspection import layer_storage, tensors_not_int8
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_formats import op_formats
from tf_metacompress.deploy.layer_map import LayerTensor, map_layers
from tf_metacompress.deploy.modes import CalibrationSamples, Mode, ModeOptions, get_mode
from tf_metacompress.deploy.parity import ParityReport, compare_outputs
from tf_metacompress.deploy.reference import keras_outputs
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.deploy.sizes import measure_sizes
from tf_metacompress.deploy.trained_ranges import trained_ranges
from tf_metacompress.errors import (
    ParityError,
    UnsupportedModelError,
    check_choice,
    check_positive,
    invalid,
    wrong_type,
)
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import LayerPlan, Policy
from tf_metacompress.typing import ExportMode, IoDtype
from tf_metacompress.wrappers import CompressedModel, LayerCompressor

_MAX_CALIBRATION = 512
_MAX_PARITY = 256
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
) -> ExportReport:
    """Writes a Keras model as a .tflite file that was run and compared with Keras.

    The file has a static batch size of one and named inputs and outputs. It is run on the
    representative data; if any output lies further from Keras than `tolerance`, nothing is written
    and an earlier file stays as it was.

    Args:
        model: A built Keras 3 model of any kind, or what `compress` returned. It is not changed.
        path: The file to write, usually ending in ".tflite".
        mode: "float32", "float16" (stored weights), "dynamic" (int8 weights), "int8" (integer
            weights and activations; weights on a grid of up to 8 bits lose nothing, and those of
            dense layers are packed where 4 bits hold them), "int16x8" (int8 weights, int16
            activations: slower, nearly exact) or "mixed" (each layer as the policy says; layers
            that it leaves alone stay in float32).
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
    plans = _plans(model, plain, policy, request.mode)
    samples = _samples(representative_dataset, request.mode, model_signature(plain))
    calibration = samples.spread(_MAX_CALIBRATION) if request.mode.needs_data else None
    source = _Source(conversion=convert_float(plain), kernels=kernel_arrays(plain, folded=True))
    trained = trained_ranges(model, plain, source.conversion, calibration)
    options = ModeOptions(
        io_dtype=request.io_dtype,
        ranges=trained.by_tensor,
        formats=op_formats(source.file, source.mapped, plans),
    )
    singles = calibration.singles() if calibration else []
    opened = _quantized(request, plain, source.conversion, singles, options)
    reference = model if trained.by_tensor else plain
    parity = _parity(
        reference, source.conversion, opened, samples.spread(_MAX_PARITY), request.tolerance
    )
    report = replace(
        _report(request, source, opened, parity),
        num_calibration_samples=len(singles),
        ranges=trained.use(opened.file),
    )
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


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The float32 file that all modes start from, and where each kernel is in it."""

    conversion: Conversion
    kernels: Mapping[str, Sequence[np.ndarray]]

    @cached_property
    def file(self) -> FlatFile:
        return read_flatfile(self.conversion.data)

    @cached_property
    def mapped(self) -> tuple[LayerTensor, ...]:
        return map_layers(self.file, self.kernels)


def _plans(
    model: keras.Model, plain: keras.Model, policy: Policy | None, mode: Mode
) -> tuple[LayerPlan, ...]:
    """What was decided for each layer; nothing in a mode that treats all layers alike."""
    if not mode.needs_plans:
        if policy is not None:
            raise invalid(
                "`policy` goes with mode 'mixed' only.",
                "The other modes treat all layers alike.",
                mode=mode.name,
            )
        return ()
    if policy is not None:
        if not isinstance(policy, Policy):
            raise wrong_type("`policy` must be a Policy.", policy=policy)
        return policy.resolve(describe(plain))
    if not isinstance(model, CompressedModel):
        raise invalid(
            f"Mode {mode.name!r} needs `policy` for a model that `compress` did not make.",
            "Pass the policy, or the student itself in place of the finalized model.",
            policy=policy,
        )
    acting = [c for c in model.compressors if isinstance(c, LayerCompressor) and c.kernels]
    return tuple(compressor.plan for compressor in acting)


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
    request: _Request,
    model: keras.Model,
    conversion: Conversion,
    calibration: CalibrationSamples,
    options: ModeOptions,
) -> LitertModel:
    try:
        data = request.mode.quantize(conversion.data, calibration, options)
        return LitertModel.open(data, trusted=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UnsupportedModelError(
            f"The model cannot be exported in mode {request.mode.name!r}: {reason}. "
            f"{_way_out(model)}"
        ) from error


def _parity(
    model: keras.Model, conversion: Conversion, opened: LitertModel, samples: Samples, limit: float
) -> ParityReport:
    expected = keras_outputs(model, conversion.signature, conversion.output_names, samples)
    actual = opened.run(samples.arrays)
    return compare_outputs(expected, actual, tolerance=limit, source=samples.source)


def _report(
    request: _Request, source: _Source, opened: LitertModel, parity: ParityReport
) -> ExportReport:
    int8 = request.mode.name == "int8"
    layers = layer_storage(opened.file, source.mapped, source.file)
    found = {entry.layer for entry in layers}
    return ExportReport(
        path=request.path,
        mode=request.mode.name,
        io_dtype=request.io_dtype,
        sha256=hashlib.sha256(opened.file.data).hexdigest(),
        sizes=measure_sizes(opened.file),
        layers=layers,
        layers_not_found=tuple(name for name in source.kernels if name not in found),
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
