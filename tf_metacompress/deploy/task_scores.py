"""How well Keras and its file do the task: accuracy for classes, error for values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_metacompress.deploy.records import Record
from tf_metacompress.errors import did_you_mean, invalid, wrong_type

ACCURACY, RMS_ERROR = "accuracy", "rms_error"


@dataclass(frozen=True, kw_only=True)
class TaskScore(Record):
    """One output against the right answers.

    Attributes:
        output: Name of the output.
        measure: "accuracy", a share in [0, 1], or "rms_error", in the unit of the answers.
        keras: Score of the Keras model.
        file: Score of the file.
    """

    output: str
    measure: str
    keras: float
    file: float


def check_targets(
    targets: Any, outputs: tuple[str, ...], num_samples: int
) -> dict[str, np.ndarray]:
    """Checks the right answers.

    Args:
        targets: An array, for the first output, or arrays by name of the output; None for none.
        outputs: Names of the outputs.
        num_samples: How many samples were given; 0 for none.

    Returns:
        Output name to array of shape (N, ...).

    Raises:
        InvalidArgumentError: If they are not as many as the samples, or name no output.
        ArgumentTypeError: If they are no numbers.
    """
    if targets is None:
        return {}
    named = dict(targets) if isinstance(targets, Mapping) else {outputs[0]: targets}
    arrays = {}
    for name, values in named.items():
        if name not in outputs:
            hint = did_you_mean(str(name), outputs) or f"The outputs are {sorted(outputs)}."
            raise invalid("`targets` must name outputs of the model.", hint, name=name)
        arrays[name] = np.asarray(values)
        if arrays[name].dtype.kind not in "fiub":
            raise wrong_type("`targets` must be arrays of numbers.", targets=values)
        if arrays[name].shape[:1] != (num_samples,):
            raise invalid(
                "`targets` must be as many as the samples of `representative_dataset`.",
                targets=arrays[name].shape[:1],
                samples=num_samples,
            )
    return arrays


def score(name: str, targets: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> TaskScore:
    """Scores one output of both.

    Args:
        name: Name of the output.
        targets: The right answers: whole numbers for classes, one a sample or one-hot, where the
            output has several values a sample; values of the output's shape otherwise.
        expected: What Keras gives, of shape (N, ...).
        actual: What the file gives, likewise.

    Returns:
        The scores.

    Raises:
        InvalidArgumentError: If the answers do not fit the output.
    """
    classes = _classes(targets, expected)
    if classes is not None:
        if classes.min() < 0 or classes.max() >= expected.shape[1]:
            raise invalid(
                "Classes in `targets` must be numbers of values of the output.",
                "They count from 0.",
                output=name,
                largest=int(classes.max()),
                outputs=expected.shape[1],
            )
        keras, file = (float(np.mean(one.argmax(axis=1) == classes)) for one in (expected, actual))
        return TaskScore(output=name, measure=ACCURACY, keras=keras, file=file)
    if targets.size != expected.size:
        raise invalid(
            "`targets` must be classes, whole numbers, or of the output's shape.",
            output=name,
            targets=targets.shape,
            shape=expected.shape,
        )
    wanted = targets.astype(np.float64).reshape(expected.shape)
    keras, file = (float(np.sqrt(np.mean((one - wanted) ** 2))) for one in (expected, actual))
    return TaskScore(output=name, measure=RMS_ERROR, keras=keras, file=file)


def _classes(targets: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    if targets.dtype.kind == "f" or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    if targets.shape == expected.shape:
        return targets.argmax(axis=1)
    return targets.reshape(-1) if targets.size == len(expected) else None
