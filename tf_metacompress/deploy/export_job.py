"""A converted model quantised, described and proved; `export_litert` writes what it gives.

A model is converted once, however many files are made from it.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import keras

from tf_metacompress.anatomy import check_keras_model, kernel_arrays
from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.anatomy.signature import model_signature
from tf_metacompress.compression import finalize
from tf_metacompress.deploy.advice import advise
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.deploy.delegation import read_delegation
from tf_metacompress.deploy.deviations import Asked, TensorDeviation, find_deviations
from tf_metacompress.deploy.execution import layer_executions
from tf_metacompress.deploy.export_request import (
    Request,
    check_data,
    check_plans,
    trained_plans,
)
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.inspection import layer_storage, tensors_not_int8
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_formats import op_formats
from tf_metacompress.deploy.model_digest import model_digest
from tf_metacompress.deploy.model_metadata import ModelMetadata, check_metadata, with_metadata
from tf_metacompress.deploy.modes import CalibrationSamples, ModeOptions
from tf_metacompress.deploy.parity import ParityReport
from tf_metacompress.deploy.proof import Proof, Source
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.deploy.sizes import gzip_size, measure_sizes
from tf_metacompress.deploy.slimming import slimmed
from tf_metacompress.deploy.task_scores import check_targets
from tf_metacompress.deploy.trained_ranges import TrainedRanges, trained_ranges
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import LayerPlan, Policy
from tf_metacompress.wrappers import CompressedModel

_MAX_CALIBRATION = 512
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that is not written yet: what is known of it, its bytes, what it says of itself."""

    report: ExportReport
    data: bytes
    metadata: ModelMetadata | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model converted to float32, from which files are made.

    Attributes:
        model: What is exported.
        plain: The same, finalized.
        samples: The representative data.
        calibration: Those of them that ranges are measured on, None where none are.
        source: The float32 file.
        trained: Ranges known from training.
        targets: Output name to the right answers.
    """

    model: keras.Model
    plain: keras.Model
    samples: Samples
    calibration: Samples | None
    source: Source
    trained: TrainedRanges
    targets: Mapping[str, Any]

    @classmethod
    def begin(
        cls, model: keras.Model, request: Request, dataset: Any, policies: Sequence[Policy | None]
    ) -> Self:
        """Checks and converts a model.

        Args:
            model: What is exported.
            request: What the user asked for.
            dataset: The representative data, unchecked.
            policies: What `make` will be called with, checked here before any work.

        Returns:
            The job.
        """
        check_keras_model(model)
        plain = finalize(model) if isinstance(model, CompressedModel) else model
        for policy in policies:
            check_plans(model, plain, policy, request.mode)
        samples = check_data(dataset, request.mode, model_signature(plain))
        calibration = samples.spread(_MAX_CALIBRATION) if request.mode.needs_data else None
        source = Source(
            conversion=convert_float(plain, dynamic_batch=request.dynamic_batch),
            kernels=kernel_arrays(plain, folded=True),
        )
        if request.slim:
            source = slimmed(source)
        return cls(
            model=model,
            plain=plain,
            samples=samples,
            calibration=calibration,
            source=source,
            trained=trained_ranges(model, plain, source.conversion, calibration),
            targets=check_targets(
                request.targets, source.conversion.output_names, samples.num_given
            ),
        )

    def make(self, request: Request, policy: Policy | None) -> Made:
        """Quantises the float32 file, describes the result and compares it with Keras.

        Args:
            request: What the user asked for, with the conversion that the job began with.
            policy: What mode "mixed" stores of each layer.

        Returns:
            The file, whether or not it agrees with Keras.
        """
        plans = check_plans(self.model, self.plain, policy, request.mode)
        metadata = _metadata(request, self, policy)
        options = ModeOptions(
            io_dtype=request.io_dtype,
            ranges=self.trained.by_tensor,
            formats=op_formats(self.source.file, self.source.mapped, plans, request.packed_ops),
            packed_ops=request.packed_ops,
        )
        singles = self.calibration.singles() if self.calibration else []
        opened = _quantized(request, self, singles, options, metadata)
        report = replace(
            _report(request, self.source, opened, self._parity(request, opened)),
            deviations=_deviations(request, self.source, opened.file, plans, options),
            num_calibration_samples=len(singles),
            ranges=self.trained.use(opened.file),
        )
        report = replace(report, warnings=advise(report, opened.file))
        return Made(report=report, data=opened.file.data, metadata=metadata)

    def _parity(self, request: Request, opened: LitertModel) -> ParityReport:
        reference = self.model if self.trained.by_tensor else self.plain
        proof = Proof(model=self.plain, reference=reference, source=self.source, opened=opened)
        return proof.parity(self.samples, request.tolerance, request.per_layer, self.targets)


def _metadata(request: Request, job: Job, policy: Policy | None) -> ModelMetadata | None:
    """Fills in what the user left open; None if the file shall say nothing."""
    said = request.metadata
    if said is None:
        return None
    check_metadata(said, job.source.file)
    plans = trained_plans(job.model)
    chosen = policy or (Policy.from_plans(plans) if plans else None)
    return replace(
        said,
        policy=said.policy or (json.loads(chosen.to_json()) if chosen else None),
        versions=said.versions or _versions(),
        keras_sha256=model_digest(job.plain),
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
    job: Job,
    calibration: CalibrationSamples,
    options: ModeOptions,
    metadata: ModelMetadata | None,
) -> LitertModel:
    try:
        data = request.mode.quantize(job.source.file.data, calibration, options)
        data = data if metadata is None else with_metadata(data, metadata)
        return LitertModel.open(data, trusted=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UnsupportedModelError(
            f"The model cannot be exported in mode {request.mode.name!r}: {reason}. "
            f"{_way_out(job.plain)}"
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
