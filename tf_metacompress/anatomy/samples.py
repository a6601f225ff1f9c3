"""The representative data: checked against the model's inputs and given by input name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_metacompress.anatomy.signature import InputSpec, ModelSignature
from tf_metacompress.errors import invalid, wrong_type

_NUM_RANDOM_SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Inputs to calibrate with and to compare on.

    Attributes:
        arrays: Input name to array of shape (N, ...).
        source: "representative_dataset", or "random" when none was given.
        num_given: How many samples the user gave.
    """

    arrays: Mapping[str, np.ndarray] = field(repr=False)
    source: str
    num_given: int

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def singles(self) -> list[dict[str, np.ndarray]]:
        """Gives the samples one by one, each input of shape (1, ...)."""
        return [
            {name: array[index : index + 1] for name, array in self.arrays.items()}
            for index in range(len(self))
        ]

    def spread(self, limit: int) -> "Samples":
        """Picks at most `limit` samples, evenly spaced over the data."""
        count = len(self)
        if count <= limit:
            return self
        chosen = np.linspace(0, count - 1, limit).round().astype(int)
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return Samples(arrays=arrays, source=self.source, num_given=self.num_given)


def check_samples(dataset: Any, signature: ModelSignature) -> Samples:
    """Checks representative data.

    Args:
        dataset: Array of shape (N, ...) for one input; for several, arrays in the order of the
            inputs or by name. Tensors are accepted for arrays.
        signature: The model's inputs.

    Returns:
        The data in the dtypes of the inputs.

    Raises:
        ArgumentTypeError: If the data are not arrays.
        InvalidArgumentError: If they are empty, not finite, or do not fit the inputs.
    """
    values = _by_name(dataset, signature)
    arrays = {spec.name: _checked(values[spec.name], spec) for spec in signature.inputs}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise invalid(
            "All inputs of `representative_dataset` must have as many samples.", lengths=lengths
        )
    return Samples(
        arrays=arrays, source="representative_dataset", num_given=next(iter(lengths.values()))
    )


def random_samples(signature: ModelSignature) -> Samples:
    """Makes a few samples for a model without data: standard normal numbers, zeros for integers."""
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        values = rng.standard_normal((_NUM_RANDOM_SAMPLES, *spec.shape))
        is_float = spec.dtype.startswith(("float", "bfloat"))
        arrays[spec.name] = (
            values.astype("float32") if is_float else np.zeros_like(values, spec.dtype)
        )
    return Samples(arrays=arrays, source="random", num_given=0)


def _by_name(dataset: Any, signature: ModelSignature) -> dict[str, Any]:
    names = signature.names
    if isinstance(dataset, Mapping):
        if set(dataset) != set(names):
            raise invalid(
                f"`representative_dataset` must have the keys {sorted(names)}.",
                keys=sorted(map(str, dataset)),
            )
        return dict(dataset)
    if len(names) == 1:
        wrapped = isinstance(dataset, list | tuple) and len(dataset) == 1
        fits = wrapped and np.ndim(dataset[0]) == len(signature.inputs[0].shape) + 1
        return {names[0]: dataset[0] if fits else dataset}
    if not isinstance(dataset, list | tuple) or len(dataset) != len(names):
        raise invalid(
            f"`representative_dataset` must be {len(names)} arrays, for the inputs {names}.",
            representative_dataset=type(dataset).__name__,
        )
    return dict(zip(names, dataset, strict=True))


def _checked(value: Any, spec: InputSpec) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise wrong_type(
            f"`representative_dataset` must be an array for input {spec.name!r} ({error}).",
            representative_dataset=value,
        ) from error
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise wrong_type(
            "`representative_dataset` must be an array of numbers.",
            "Pass NumPy arrays, without labels.",
            representative_dataset=value,
        )
    if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1:
        hint = "Add a batch axis." if array.shape == spec.shape else ""
        raise invalid(
            f"`representative_dataset` must have the shape (N, {', '.join(map(str, spec.shape))}) "
            f"for input {spec.name!r}.",
            hint,
            shape=array.shape,
        )
    if len(array) == 0:
        raise invalid("`representative_dataset` must not be empty.", shape=array.shape)
    if array.dtype.kind not in "iub" and not np.isfinite(array.astype(np.float32)).all():
        raise invalid(
            "`representative_dataset` must be finite.",
            "Remove the samples with NaN or infinite values.",
            input=spec.name,
        )
    return array.astype(spec.dtype)
