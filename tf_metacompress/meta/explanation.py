"""Why a policy does what it does to each layer, as data that prints."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tf_metacompress.atomic import PathLike
from tf_metacompress.meta.explanation_picture import draw_explanation
from tf_metacompress.policy import strict_json
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.text_table import lay_out

__all__ = ["BudgetChange", "Explanation", "LayerExplanation", "Option", "ResourceUse"]

_KIB = 1024.0
_HEADINGS = ("layer", "choice", "runner-up", "driven by", "damage", "± ", "other", "± ", "KiB")
_NUM_LEFT = 4
_SMALLEST_DRIVE = 0.005


@dataclass(frozen=True, kw_only=True)
class Option:
    """One action on one layer, with what is predicted of it.

    Attributes:
        sparsity: Fraction of zeros.
        weight_bits: Bits of a stored weight.
        damage: Predicted damage after fine-tuning, in the unit of Φ's prior.
        deviation: Standard deviation of the damage over the heads of Φ.
        cost: Cost in the resource that the explanation names.
    """

    sparsity: float
    weight_bits: int
    damage: float
    deviation: float
    cost: float

    def __str__(self) -> str:
        """Zeros and bits."""
        return f"{self.sparsity:.0%} zeros, {self.weight_bits} bit"


@dataclass(frozen=True, kw_only=True)
class LayerExplanation:
    """What was chosen for one layer, and why.

    Attributes:
        layer: Full path of the layer.
        kind: Its kind.
        choice: What the policy does.
        runner_up: The action that is next best at the price of the budget, or None when the device
            runs no other.
        drivers: By group of features, how far it moves the logarithm of the damage of the choice
            away from what Φ would say of an average layer and action.
    """

    layer: str
    kind: str
    choice: Option
    runner_up: Option | None
    drivers: Mapping[str, float] = field(default_factory=FrozenMapping)

    @property
    def main_driver(self) -> str:
        """The group of features that counts most, "prior alone" when none does."""
        name = max(self.drivers, key=lambda key: abs(self.drivers[key]), default="")
        if not name or abs(self.drivers[name]) < _SMALLEST_DRIVE:
            return "prior alone"
        return f"{name} ({self.drivers[name]:+.2f})"


@dataclass(frozen=True, kw_only=True)
class BudgetChange:
    """What Φ would do with a little more or less of the scarcest resource.

    Attributes:
        amount: The change of the limit, in the resource's own unit.
        damage_change: Change of the least total damage.
        layers: Name of each layer that would be treated differently to what would be done to it.
    """

    amount: float
    damage_change: float
    layers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ResourceUse:
    """What a policy takes of one limited resource.

    Attributes:
        resource: Its name.
        limit: What the budget allows of it.
        cost: What the policy takes of it, everything included.
        price: The multiplier λ: damage that one more unit of it would save.
    """

    resource: str
    limit: float
    cost: float
    price: float

    def __str__(self) -> str:
        """Cost, limit and price, in the unit for people."""
        unit, size = _unit(self.resource)
        return (
            f"{self.cost / size:.4g} of {self.limit / size:.4g} {unit} ({self.resource}), price "
            f"{self.price * size:.4g} a {unit}"
        )


def _unit(resource: str) -> tuple[str, float]:
    """The unit that people read, and how much of the resource's own it is."""
    if resource.endswith("_bytes"):
        return "KiB", _KIB
    return {"macs": ("MMAC", 1e6), "latency_ms": ("ms", 1.0)}[resource]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A policy layer by layer; print it, plot it, or write it as JSON.

    Attributes:
        policy: Name of the policy.
        device: Name of the device.
        resource: The scarcest budgeted resource, in which costs are told.
        limit: What the budget allows of it.
        cost: What the policy takes of it, everything included.
        price: The multiplier λ: damage that one more unit of the resource would save.
        damage: Predicted damage of the policy, summed over layers.
        least_damage: That of the best choice within the budget; None when nothing fits.
        layers: The layers, in execution order.
        more: What a little more of the resource would change; None when nothing fits.
        less: What a little less would change; None when that cannot be reached.
        notes: Where the policy does what Φ cannot judge exactly.
        others: The other limited resources.
    """

    policy: str
    device: str
    resource: str
    limit: float
    cost: float
    price: float
    damage: float
    least_damage: float | None
    layers: tuple[LayerExplanation, ...]
    more: BudgetChange | None
    less: BudgetChange | None
    notes: tuple[str, ...] = ()
    others: tuple[ResourceUse, ...] = ()

    @property
    def price_per_kib(self) -> float:
        """Damage that one more KiB would save; of a resource in bytes."""
        return self.price * _KIB

    def __str__(self) -> str:
        """The totals, a table of the layers, and what a change of the budget would do."""
        rows = [self._cells(layer) for layer in self.layers]
        headings = (*_HEADINGS[:-1], self._unit)
        return "\n".join([*self._head(), *lay_out(headings, rows, _NUM_LEFT), *self._tail()])

    def to_json(self) -> str:
        """Writes everything as JSON with a schema version."""
        return strict_json.to_text(_plain(asdict(self)))

    def plot(self, path: PathLike) -> None:
        """Draws damages with their uncertainty, and what drove them, to a PNG file.

        Args:
            path: File to write, whole or not at all.
        """
        draw_explanation(path, self)

    @property
    def _unit(self) -> str:
        return _unit(self.resource)[0]

    def _amount(self, amount: float) -> float:
        return amount / _unit(self.resource)[1]

    def _cells(self, layer: LayerExplanation) -> tuple[str, ...]:
        choice, other = layer.choice, layer.runner_up
        return (
            layer.layer,
            str(choice),
            str(other or "none"),
            layer.main_driver,
            f"{choice.damage:.3g}",
            f"{choice.deviation:.3g}",
            f"{other.damage:.3g}" if other else "",
            f"{other.deviation:.3g}" if other else "",
            f"{self._amount(choice.cost):.3g}",
        )

    def _head(self) -> list[str]:
        least = "nothing fits the budget"
        if self.least_damage is not None:
            least = f"the least within the budget is {self.least_damage:.3g}"
        unit = self._unit
        return [
            f"{self.policy or 'policy'} on {self.device}: {self._amount(self.cost):.4g} of "
            f"{self._amount(self.limit):.4g} {unit} ({self.resource})",
            *(f"also limited: {other}" for other in self.others),
            f"predicted damage {self.damage:.3g}; {least}",
            "",
        ]

    def _tail(self) -> list[str]:
        unit = self._unit
        per_unit = self.price / self._amount(1.0)
        lines = ["", f"price: one more {unit} saves about {per_unit:.4g} of damage"]
        for word, change in (("more", self.more), ("less", self.less)):
            if change is None:
                lines.append(f"{word}: cannot be reached")
                continue
            layers = "; ".join(f"{name}: {action}" for name, action in change.layers.items())
            amount = abs(self._amount(change.amount))
            lines.append(
                f"{amount:.3g} {unit} {word}: damage {change.damage_change:+.4g}; "
                f"{layers or 'no layer changes'}"
            )
        return [*lines, *(f"! {note}" for note in self.notes)]


def _plain(value: Any) -> Any:
    """Turns mappings and tuples of any kind into what JSON knows."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
