"""Activation ranges of a student, measured on data instead of learned in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_metacompress.calibration.histogram import Histogram, Range, range_of
from tf_metacompress.layer_tree import Call, redirected
from tf_metacompress.progress import progress
from tf_metacompress.wrappers import ActivationRange, CompressedModel


def activation_ranges(student: CompressedModel) -> dict[str, ActivationRange]:
    """Lists the ranges of a student.

    Args:
        student: What `compress` returned.

    Returns:
        Path of the layer to the range of its result.
    """
    return {
        compressor.plan.layer: compressor.output_range
        for compressor in student.compressors
        if compressor.output_range is not None
    }


def measure_ranges(
    student: CompressedModel, batches: Sequence[Any], settings: Mapping[str, str]
) -> dict[str, Range]:
    """Sets each range by the values that its tensor takes; weights are compressed meanwhile.

    Args:
        student: What `compress` returned. Its ranges are set.
        batches: Inputs of the student, batch by batch.
        settings: Path of a layer to how its range is set.

    Returns:
        Path to the range that was set. A tensor that was zero throughout is left out.
    """
    ranges = activation_ranges(student)
    ends = _Ends()
    _run(student, ranges, batches, ends.record, "measuring ranges")
    histograms = {path: Histogram(*found) for path, found in ends.found.items()}

    def count(path: str, values: np.ndarray) -> None:
        histograms[path].add(values)

    if any(settings[path] != "min_max" for path in ranges):
        _run(student, ranges, batches, count, "counting values")
    measured = {}
    for path, histogram in histograms.items():
        if histogram.low < histogram.high:
            measured[path] = range_of(histogram, ranges[path].num_bits, settings[path])
            ranges[path].set_range(*measured[path])
    return measured


class _Ends:
    """Smallest and largest value by path."""

    def __init__(self) -> None:
        self.found: dict[str, Range] = {}

    def record(self, path: str, values: np.ndarray) -> None:
        low, high = self.found.get(path, (np.inf, -np.inf))
        self.found[path] = min(low, float(values.min())), max(high, float(values.max()))


def _run(
    student: CompressedModel,
    ranges: Mapping[str, ActivationRange],
    batches: Sequence[Any],
    record: Any,
    description: str,
) -> None:
    def observing(path: str, layer: ActivationRange, call: Call) -> Call:
        def observed(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            values = layer.clipped(tf.cast(inputs, tf.float32))
            record(path, values.numpy())
            return tf.cast(values, inputs.dtype)

        return observed

    with redirected(ranges, observing):
        for batch in progress(batches, description=description):
            student(batch, training=False)
