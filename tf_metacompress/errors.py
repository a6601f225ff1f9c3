"""Every error this package raises on purpose, and the checks that raise them.

A message states the rule, what was received and what to do, in that order, so that the command line
can print it on one line. All errors derive from `MetacompressError`; the ones about arguments are
also a `ValueError` or a `TypeError`, as Python callers expect.
"""

import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any


class MetacompressError(Exception):
    """Base of every error raised on purpose by this package."""


class InvalidArgumentError(MetacompressError, ValueError):
    """An argument has a value that is not allowed."""


class ArgumentTypeError(MetacompressError, TypeError):
    """An argument has a type that is not allowed."""


class InfeasibleBudgetError(InvalidArgumentError):
    """No choice of actions fits the budget.

    Attributes:
        smallest: Smallest reachable amount of each resource taken alone, in the resource's own unit
            (bytes, multiply-accumulates, milliseconds).
    """

    def __init__(self, message: str, *, smallest: Mapping[str, float] | None = None) -> None:
        """Stores the message and the smallest reachable amounts."""
        super().__init__(message)
        self.smallest: dict[str, float] = dict(smallest or {})


class UnsupportedModelError(InvalidArgumentError):
    """The model cannot be compressed: not a Keras 3 model, or nothing in it to compress."""


class SecondOrderGradientError(UnsupportedModelError):
    """The model holds layers whose second-order gradients are silently wrong.

    Attributes:
        layers: Names of the offending layers.
    """

    def __init__(self, message: str, *, layers: Iterable[str] = ()) -> None:
        """Stores the message and the names of the offending layers."""
        super().__init__(message)
        self.layers: tuple[str, ...] = tuple(layers)


class MissingGradientError(MetacompressError, RuntimeError):
    """A gradient that must exist arrived as `None`."""


class NonFiniteLossError(MetacompressError, ArithmeticError):
    """A loss became infinite or NaN.

    Attributes:
        meta_step: The meta-step at which it did.
        task: Index of the task within the step; None when only the gradient is not finite.
    """

    def __init__(
        self, message: str, *, meta_step: int | None = None, task: int | None = None
    ) -> None:
        """Stores the message and where it happened."""
        super().__init__(message)
        self.meta_step = meta_step
        self.task = task


class CorruptFileError(InvalidArgumentError):
    """A file cannot be read, or does not hold what it should."""


class ParityError(MetacompressError, RuntimeError):
    """The exported file does not compute what the Keras model computes.

    Attributes:
        report: The measured differences, as the exporter recorded them.
    """

    def __init__(self, message: str, *, report: Any = None) -> None:
        """Stores the message and the measured differences."""
        super().__init__(message)
        self.report = report


class DeviceError(MetacompressError, RuntimeError):
    """A device, or the tool that reaches it, cannot be used.

    Attributes:
        reason: "missing", "refused", "gone", "timeout", "full" or "failed".
    """

    def __init__(self, message: str, *, reason: str = "failed") -> None:
        """Stores the message and the reason."""
        super().__init__(message)
        self.reason = reason


def invalid(rule: str, fix: str = "", /, **received: object) -> InvalidArgumentError:
    """Builds, without raising, the error for a value that breaks a rule.

    Args:
        rule: What must hold, as a full sentence.
        fix: What to do about it, as a full sentence.
        **received: The offending arguments, by name.

    Returns:
        The error, for the caller to raise.

    Example:
        >>> raise invalid("`sparsity` must lie in [0, 1).", "Pass 0.9 for 90 %.", sparsity=90)
        Traceback (most recent call last):
        ...
        tf_metacompress.errors.InvalidArgumentError: `sparsity` must lie in [0, 1). Received: \
sparsity=90. Pass 0.9 for 90 %.
    """
    shown = {name: _shorten(repr(value)) for name, value in received.items()}
    return InvalidArgumentError(_sentence(rule, fix, shown))


def wrong_type(rule: str, fix: str = "", /, **received: object) -> ArgumentTypeError:
    """Builds, without raising, the error for an argument of a wrong type.

    Args:
        rule: What must hold, as a full sentence.
        fix: What to do about it, as a full sentence.
        **received: The offending arguments, by name; their types are shown.

    Returns:
        The error, for the caller to raise.

    Example:
        >>> str(wrong_type("`budget` must be a Budget.", budget=0.1))
        '`budget` must be a Budget. Received: budget of type float.'
    """
    shown = [f"{name} of type {type(value).__name__}" for name, value in received.items()]
    return ArgumentTypeError(_join(rule, fix, shown))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Suggests the known name nearest to a mistaken one.

    Args:
        name: What was asked for; anything but a string gets no suggestion.
        known: The names that exist.

    Returns:
        A sentence such as "Did you mean 'conv1'?", or "" when nothing is near.

    Example:
        >>> did_you_mean("cnov1", ["conv1", "head"])
        "Did you mean 'conv1'?"
    """
    if not isinstance(name, str):
        return ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""


def check_fraction(name: str, value: object, *, upper_inclusive: bool = False) -> float:
    """Checks that a value is a fraction.

    Args:
        name: Name of the argument, for the message.
        value: The value, any real number but a bool.
        upper_inclusive: Whether 1 itself is allowed.

    Returns:
        The value as a Python float in [0, 1), or in [0, 1].

    Raises:
        InvalidArgumentError: If `value` is not such a number.

    Example:
        >>> check_fraction("sparsity", 0.9)
        0.9
    """
    interval = "[0, 1]" if upper_inclusive else "[0, 1)"
    number = _finite(value)
    if number is None or not 0.0 <= number <= 1.0 or (number == 1.0 and not upper_inclusive):
        raise invalid(
            f"`{name}` must be a fraction in {interval}.", "Pass 0.9 for 90 %.", **{name: value}
        )
    return number


def check_positive(name: str, value: object) -> float:
    """Checks that a value is a finite number above zero.

    Args:
        name: Name of the argument, for the message.
        value: The value, any real number but a bool.

    Returns:
        The value as a Python float.

    Raises:
        InvalidArgumentError: If `value` is not such a number.

    Example:
        >>> check_positive("latency_ms", 3)
        3.0
    """
    number = _finite(value)
    if number is None or number <= 0.0:
        raise invalid(f"`{name}` must be a finite number above 0.", **{name: value})
    return number


def check_int(name: str, value: object, minimum: int | None = None) -> int:
    """Checks that a value is an integer, not below a minimum.

    Args:
        name: Name of the argument, for the message.
        value: The value, any integer but a bool.
        minimum: Smallest value allowed, or None for no limit.

    Returns:
        The value as a Python int.

    Raises:
        InvalidArgumentError: If `value` is not such an integer.

    Example:
        >>> check_int("num_runs", 50, minimum=1)
        50
    """
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_int or (minimum is not None and int(value) < minimum):
        limit = "" if minimum is None else f" of at least {minimum}"
        raise invalid(f"`{name}` must be an integer{limit}.", **{name: value})
    return int(value)


def check_choice(name: str, value: object, choices: Iterable[Any]) -> Any:
    """Checks that a value is one of a few strings or integers.

    Args:
        name: Name of the argument, for the message.
        value: The value.
        choices: What is allowed.

    Returns:
        The member of `choices` that equals `value`.

    Raises:
        InvalidArgumentError: If `value` is none of them; a near name is suggested.

    Example:
        >>> check_choice("mode", "int8", ("float32", "int8"))
        'int8'
    """
    choices = tuple(choices)
    kinds = (str, numbers.Integral)
    if isinstance(value, kinds) and not isinstance(value, bool):
        for choice in choices:
            if choice == value:
                return choice
    names = [choice for choice in choices if isinstance(choice, str)]
    listed = ", ".join(repr(choice) for choice in choices)
    raise invalid(f"`{name}` must be one of {listed}.", did_you_mean(value, names), **{name: value})


def _finite(value: object) -> float | None:
    """Gives a real, finite, non-bool number as a float, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _sentence(rule: str, fix: str, shown: Mapping[str, str]) -> str:
    return _join(rule, fix, [f"{name}={text}" for name, text in shown.items()])


def _join(rule: str, fix: str, shown: list[str]) -> str:
    received = f"Received: {', '.join(shown)}." if shown else ""
    return " ".join(part for part in (rule, received, fix) if part)


def _shorten(text: str, limit: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
