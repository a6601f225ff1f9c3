"""Does the exported file compute what Keras computes? Measured per output on real samples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.task_scores import TaskScore


@dataclass(frozen=True, kw_only=True)
class OutputParity(Record):
    """How far one output of the file lies from that of Keras.

    Attributes:
        name: Name of the output.
        max_abs_error: Largest absolute difference.
        rms_error: Root mean square of the differences.
        relative_error: `rms_error` divided by the root mean square of the Keras output.
        spread_error: `rms_error` divided by the root mean square of how the Keras output varies
            from sample to sample; infinite when it does not vary.
        agreement: Share of samples with the same largest class, in [0, 1]; None unless the output
            has the shape (N, classes) with at least two classes.
    """

    name: str
    max_abs_error: float
    rms_error: float
    relative_error: float
    spread_error: float
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class LayerParity(Record):
    """How far one tensor of the file lies from the Keras layer whose result it holds.

    Attributes:
        layer: Path of the layer whose kernel the tensor is computed with; without one as `result`.
        result: Path of the layer that gives the tensor in Keras: another one than `layer` where
            BatchNormalization or an activation was fused. " (call 2)" follows for a shared layer.
        tensor: Name of the tensor in the file.
        relative_error: Root mean square of the differences, relative to that of the Keras result.
        max_abs_error: Largest absolute difference.
    """

    layer: str
    result: str
    tensor: str
    relative_error: float
    max_abs_error: float


@dataclass(frozen=True, kw_only=True)
class ParityReport(Record):
    """Parity of all outputs.

    Attributes:
        outputs: One entry an output.
        tolerance: Largest accepted `relative_error`.
        num_samples: Samples compared.
        source: "representative_dataset", or "random" when none was given.
        layers: In order of execution every tensor of the file that holds the result of a layer;
            empty unless an output failed or `per_layer` was asked for. Computed without delegates,
            on at most 16 samples.
        unseen_layers: Layers with kernels that are not in `layers`, with the reason, likewise;
            "every layer" alone where the file runs with a delegate only.
        scores: How well both do the task, where `targets` were given.
    """

    outputs: tuple[OutputParity, ...]
    tolerance: float
    num_samples: int
    source: str
    layers: tuple[LayerParity, ...] = ()
    unseen_layers: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[TaskScore, ...] = ()

    @property
    def first_apart(self) -> LayerParity | None:
        """The first layer that lies further from Keras than the tolerance, None for none seen."""
        return next((one for one in self.layers if not one.relative_error <= self.tolerance), None)

    def where_apart(self) -> str:
        """Says in a sentence or two where file and Keras part, and what could not be seen."""
        hidden = ", ".join(f"{name!r} ({reason})" for name, reason in self.unseen_layers.items())
        note = f" Not seen: {hidden}." if hidden else ""
        if not self.layers:
            return f"No layer could be compared.{note}"
        first = self.first_apart
        if first is None:
            worst = max(self.layers, key=lambda one: one.relative_error)
            text = f"No layer seen lies above the tolerance; the furthest is {_error(worst)}."
            return text + note
        index = self.layers.index(first)
        before = f", after {_error(self.layers[index - 1])}" if index else ", the first seen"
        return f"They part at layer {_error(first)}{before}.{note}"

    @property
    def worst(self) -> OutputParity:
        """The output with the largest relative error."""
        return max(self.outputs, key=lambda output: output.relative_error)

    @property
    def relative_error(self) -> float:
        """Largest relative error of any output."""
        return self.worst.relative_error

    @property
    def max_abs_error(self) -> float:
        """Largest absolute error of any output."""
        return max(output.max_abs_error for output in self.outputs)

    @property
    def passed(self) -> bool:
        """Whether every output lies within the tolerance."""
        return self.relative_error <= self.tolerance


def _error(one: LayerParity) -> str:
    return f"{one.layer!r} (relative error {one.relative_error:.3g})"


def compare_outputs(
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    *,
    tolerance: float,
    source: str = "representative_dataset",
) -> ParityReport:
    """Compares what Keras gives with what the file gives.

    Args:
        expected: Outputs of Keras by name, each of shape (N, ...).
        actual: Outputs of the file, likewise.
        tolerance: Largest accepted relative error.
        source: Where the samples came from.

    Returns:
        The differences.
    """
    outputs = tuple(_output_parity(name, expected[name], actual[name]) for name in expected)
    count = len(next(iter(expected.values())))
    return ParityReport(outputs=outputs, tolerance=tolerance, num_samples=count, source=source)


def _output_parity(name: str, expected: np.ndarray, actual: np.ndarray) -> OutputParity:
    expected, actual = expected.astype(np.float64), actual.astype(np.float64)
    if not np.isfinite(actual).all():
        error = math.inf
        largest = math.inf
    else:
        error = _rms(actual - expected)
        largest = float(np.abs(actual - expected).max())
    return OutputParity(
        name=name,
        max_abs_error=largest,
        rms_error=error,
        relative_error=_ratio(error, _rms(expected)),
        spread_error=_ratio(error, _rms(expected - expected.mean(axis=0))),
        agreement=_agreement(expected, actual),
    )


def relative_error(squared_error: float, squared_scale: float) -> float:
    """Gives √(error / scale) of two sums of squares: 0 for no error, infinite where undefined."""
    if not math.isfinite(squared_error):
        return math.inf
    return _ratio(math.sqrt(squared_error), math.sqrt(squared_scale))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _ratio(error: float, scale: float) -> float:
    if error == 0.0:
        return 0.0
    return error / scale if scale > 0.0 else math.inf


def _agreement(expected: np.ndarray, actual: np.ndarray) -> float | None:
    if expected.ndim != 2 or expected.shape[1] < 2:
        return None
    return float(np.mean(expected.argmax(axis=1) == actual.argmax(axis=1)))
