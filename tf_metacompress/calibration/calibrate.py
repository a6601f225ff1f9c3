"""`calibrate`: what users do who cannot train."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tf_metacompress.anatomy import copy_model
from tf_metacompress.anatomy.samples import Samples, check_samples
from tf_metacompress.anatomy.signature import ModelSignature, model_signature
from tf_metacompress.calibration.bias_correction import correct_biases
from tf_metacompress.calibration.histogram import RANGE_SETTINGS, Range
from tf_metacompress.calibration.ranges import activation_ranges, measure_ranges
from tf_metacompress.errors import check_choice, check_int, wrong_type
from tf_metacompress.wrappers import CompressedModel

_BATCH_SIZE = 32
_BIAS_SAMPLES = 128


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """What was measured and set.

    Attributes:
        num_samples: Samples that the ranges were measured on.
        ranges: Path of a layer to the range of its result.
        corrected: Layers whose bias was corrected.
        uncorrected: Layers with rounded weights that have nothing to correct.
    """

    num_samples: int
    ranges: Mapping[str, Range]
    corrected: tuple[str, ...]
    uncorrected: tuple[str, ...]


def calibrate(
    student: CompressedModel,
    representative_dataset: Any,
    *,
    range_setting: str | None = None,
    bias_correction: bool = True,
    num_samples: int = 512,
) -> CalibrationReport:
    """Prepares a student for export without training it.

    The ranges of its activations are set by the values they take on the data. Before that the bias
    of every layer with rounded weights is moved so that the mean of each channel is that of the
    float model. No labels are needed. Training is better where it is possible.

    Args:
        student: What `compress` returned. Its ranges and biases are set.
        representative_dataset: Inputs like those of deployment: an array of shape (N, ...), or
            several in order or by input name.
        range_setting: "min_max", "percentile" (leaves out 0.01 %) or "mse" (least squared error)
            for every layer; None for what the plan of each layer says.
        bias_correction: Whether to correct biases.
        num_samples: Samples to use at most, evenly spaced over the data.

    Returns:
        What was done.

    Raises:
        ArgumentTypeError: If `student` did not come from `compress`.
        InvalidArgumentError: If the data do not fit the student's inputs.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
        >>> student = tmc.compress(model, tmc.Policy([tmc.Rule("head", weight_bits=8)]))
        >>> calibrate(student, np.random.default_rng(0).normal(size=(64, 8))).corrected
        ('head',)
    """
    if not isinstance(student, CompressedModel):
        raise wrong_type("`student` must be a model made by `compress`.", student=student)
    if range_setting is not None:
        check_choice("range_setting", range_setting, tuple(RANGE_SETTINGS))
    check_int("num_samples", num_samples, 1)
    signature = model_signature(student.network)
    samples = check_samples(representative_dataset, signature).spread(num_samples)
    corrected: tuple[str, ...] = ()
    if bias_correction:
        inputs = _batch(samples.spread(_BIAS_SAMPLES), signature, 0, _BIAS_SAMPLES)
        corrected = correct_biases(student, copy_model(student.network), inputs)
    batches = [
        _batch(samples, signature, start, _BATCH_SIZE)
        for start in range(0, len(samples), _BATCH_SIZE)
    ]
    settings = {
        compressor.plan.layer: range_setting or compressor.plan.range_setting
        for compressor in student.compressors
    }
    ranges = measure_ranges(student, batches, settings) if activation_ranges(student) else {}
    rounded = [c.plan.layer for c in student.compressors if c.kernels and c.plan.weight_bits < 32]
    return CalibrationReport(
        num_samples=len(samples),
        ranges=ranges,
        corrected=corrected,
        uncorrected=tuple(path for path in rounded if path not in corrected),
    )


def _batch(samples: Samples, signature: ModelSignature, start: int, size: int) -> Any:
    chunk = {name: array[start : start + size] for name, array in samples.arrays.items()}
    return signature.pack({name: keras.ops.convert_to_tensor(a) for name, a in chunk.items()})
