"""A task: a model, what it may cost, where it runs, and the data to recover on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.typing import ArrayPair


@dataclass(frozen=True, eq=False)
class Task:
    """What to learn a policy from: model, budget, device, support set and query set.

    Attributes:
        model: A Keras model.
        budget: A `Budget`.
        device: Name of a device, or a `DeviceProfile`.
        support: Inputs (N, ...) and labels (N, ...) that the inner loop fine-tunes on.
        query: Inputs and labels that the result is judged on, or None to judge on `support`.
        loss: Maps labels and predictions to a loss; None for the model's own.
        latency: A `LatencyTable`, needed for a budget in milliseconds.
        name: Words for messages and tables.

    Raises:
        ArgumentTypeError: If a field has a wrong type.
        InvalidArgumentError: If the arrays are empty, not finite, or do not fit each other.
    """

    model: Any
    budget: Any
    device: Any = "android-arm64"
    support: ArrayPair = field(kw_only=True)
    query: ArrayPair | None = field(default=None, kw_only=True)
    loss: Callable[..., Any] | str | None = field(default=None, kw_only=True)
    latency: Any = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields and turns the data into arrays."""
        if not callable(self.model):
            raise wrong_type("`model` must be a Keras model.", model=self.model)
        if not callable(getattr(self.budget, "limits", None)):
            raise wrong_type("`budget` must be a Budget.", budget=self.budget)
        if not isinstance(self.device, str) and not hasattr(self.device, "channel_multiple"):
            raise wrong_type("`device` must be a name or a DeviceProfile.", device=self.device)
        object.__setattr__(self, "support", check_pair("support", self.support))
        if self.query is not None:
            object.__setattr__(self, "query", check_pair("query", self.query))
            check_alike(self.support, self.query)

    @property
    def resolved_query(self) -> ArrayPair:
        """The query set, or the support set when there is none."""
        return self.support if self.query is None else self.query


def check_arrays(name: str, x: Any, y: Any) -> ArrayPair:
    """Checks a data set of inputs and labels.

    Args:
        name: Name of the data set, for messages.
        x: Inputs of shape (N, ...), numbers.
        y: Labels of shape (N, ...): class indices, one-hot rows or regression targets.

    Returns:
        Both as NumPy arrays, not copied where they were arrays already.

    Raises:
        InvalidArgumentError: If they are empty, of unlike length, not finite, not numbers, or if
            class indices are negative.

    Example:
        >>> x, y = check_arrays("support", [[0.0], [1.0]], [0, 1])
        >>> x.shape, y.shape
        ((2, 1), (2,))
    """
    x, y = _numeric(f"{name} inputs", x), _numeric(f"{name} labels", y)
    if len(x) != len(y):
        raise invalid(
            f"The {name} set must have one label per input.", inputs=len(x), labels=len(y)
        )
    if y.ndim == 1 and np.issubdtype(y.dtype, np.signedinteger) and y.min() < 0:
        raise invalid(
            f"Class labels of the {name} set must not be negative.", smallest=int(y.min())
        )
    return x, y


def _numeric(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise invalid(f"The {what} must form one array: {error}.") from error
    if array.ndim > 0 and array.size == 0:
        raise invalid(f"The {what} must not be empty.", shape=array.shape)
    if array.dtype != bool and not np.issubdtype(array.dtype, np.number):
        raise invalid(f"The {what} must be an array of numbers.", dtype=str(array.dtype))
    if array.ndim == 0:
        raise invalid(f"The {what} must have an axis of examples.", shape=array.shape)
    if not np.isfinite(array).all():
        raise invalid(f"The {what} must be finite.", "Remove NaN and infinity.")
    return array


def check_pair(name: str, pair: Any) -> ArrayPair:
    """Checks that an object is a pair (inputs, labels) that `check_arrays` lets pass.

    Args:
        name: Name of the data set, for messages.
        pair: Anything.

    Returns:
        Both as NumPy arrays.

    Raises:
        ArgumentTypeError: If it is no pair.
        InvalidArgumentError: If the arrays do not fit each other.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise wrong_type(f"`{name}` must be a pair (inputs, labels).", **{name: pair})
    return check_arrays(name, *pair)


def check_alike(support: ArrayPair, query: ArrayPair) -> None:
    """Checks that the examples of two data sets have the same shapes.

    Args:
        support: Inputs and labels.
        query: Inputs and labels.

    Raises:
        InvalidArgumentError: If inputs or labels differ in more than the first axis.
    """
    for what, first, second in zip(("inputs", "labels"), support, query, strict=True):
        if first.shape[1:] != second.shape[1:]:
            raise invalid(
                f"The {what} of support and query must have the same shape but for the first axis.",
                support=first.shape,
                query=second.shape,
            )
