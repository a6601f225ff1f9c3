"""What a compressed model may cost."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_metacompress.errors import check_fraction, check_positive, invalid, wrong_type
from tf_metacompress.policy import strict_json

RESOURCES: tuple[str, ...] = ("size_bytes", "flash_bytes", "macs", "latency_ms")
"""What a budget can limit: gzip bytes, file bytes, multiply-accumulates, milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on a compressed model; at least one is given, all given ones hold together.

    Attributes:
        size_ratio: Download size as a share of the float32 model's, in (0, 1].
        size_bytes: Download size: bytes of the exported file after gzip.
        flash_bytes: Bytes of the exported file as it lies on the device.
        macs_ratio: Multiply-accumulates as a share of the float32 model's, in (0, 1].
        latency_ms: Time of one inference on the device, in milliseconds.
        accuracy_drop: Accuracy that may be lost, as a fraction in [0, 1].

    Raises:
        InvalidArgumentError: If no limit is given, or one is out of its range.

    Example:
        >>> Budget(size_ratio=0.1).limits({"size_bytes": 50_000.0})
        {'size_bytes': 5000.0}
    """

    size_ratio: float | None = None
    size_bytes: float | None = None
    flash_bytes: float | None = None
    macs_ratio: float | None = None
    latency_ms: float | None = None
    accuracy_drop: float | None = None

    def __post_init__(self) -> None:
        """Checks the limits and turns NumPy scalars into Python numbers."""
        given = self.to_dict()
        if not given:
            names = ", ".join(entry.name for entry in dataclasses.fields(self))
            raise invalid("A Budget needs at least one limit.", f"Give one of {names}.")
        for name, value in given.items():
            object.__setattr__(self, name, _check_limit(name, value))

    def to_dict(self) -> dict[str, float]:
        """Gives the limits that are set, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources it limits, in the order of `RESOURCES`; `accuracy_drop` is not one."""
        return tuple(self.limits({"size_bytes": 1.0, "macs": 1.0}))

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> "Budget":
        """Reads a budget from what `to_dict` gave, strictly.

        Args:
            values: Limits by name.

        Returns:
            The budget.

        Raises:
            CorruptFileError: If a name is unknown or a limit out of its range.
        """
        names = tuple(entry.name for entry in dataclasses.fields(cls))
        checked = dict(values) if isinstance(values, Mapping) else values
        fields = strict_json.check_keys(checked, where="The budget", required=(), optional=names)
        return strict_json.build(cls, where="The budget", **fields)

    def limits(self, reference: Mapping[str, float]) -> dict[str, float]:
        """Turns the limits into absolute amounts.

        `accuracy_drop` is not among them: no action has a known accuracy.

        Args:
            reference: What the float32 model costs, by resource: "size_bytes" when `size_ratio` is
                set, "macs" when `macs_ratio` is set.

        Returns:
            The limit of each limited resource, in the order of `RESOURCES`. Where a ratio and an
            amount limit the same resource, the smaller one.

        Raises:
            InvalidArgumentError: If `reference` lacks a resource that a ratio needs.
        """
        if not isinstance(reference, Mapping):
            raise wrong_type("`reference` must be a mapping.", reference=reference)
        found = {
            "size_bytes": [self.size_bytes, _share(self.size_ratio, "size_bytes", reference)],
            "flash_bytes": [self.flash_bytes],
            "macs": [_share(self.macs_ratio, "macs", reference)],
            "latency_ms": [self.latency_ms],
        }
        given = {name: [x for x in amounts if x is not None] for name, amounts in found.items()}
        return {name: min(amounts) for name, amounts in given.items() if amounts}


def check_budget(budget: Any) -> None:
    """Raises unless a budget limits something that a policy decides.

    Args:
        budget: Any object.

    Raises:
        ArgumentTypeError: If it is not a `Budget`.
        InvalidArgumentError: If it limits the accuracy only.
    """
    if not isinstance(budget, Budget):
        raise wrong_type("`budget` must be a Budget.", budget=budget)
    if not budget.resources:
        raise invalid(
            "The budget must limit a size, the multiply-accumulates or the latency.",
            "Add size_ratio=0.1, for example.",
            budget=budget,
        )


def _check_limit(name: str, value: object) -> float:
    if name == "accuracy_drop":
        return check_fraction(name, value, upper_inclusive=True)
    number = check_positive(name, value)
    if name.endswith("_ratio") and number > 1.0:
        raise invalid(
            f"`{name}` must lie in (0, 1].", "Pass 0.1 for a tenth of float32.", **{name: value}
        )
    return number


def _share(ratio: float | None, resource: str, reference: Mapping[str, float]) -> float | None:
    if ratio is None:
        return None
    if resource not in reference:
        raise invalid(
            f"`reference` must hold {resource!r}, which a ratio of the budget refers to.",
            reference=sorted(reference),
        )
    return ratio * check_positive(resource, reference[resource])
