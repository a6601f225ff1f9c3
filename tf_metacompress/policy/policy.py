"""A policy: frozen data that says what happens to each layer of a model."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_metacompress import atomic
from tf_metacompress.errors import ArgumentTypeError, did_you_mean, invalid, wrong_type
from tf_metacompress.policy import strict_json
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.plan_checks import check_plans
from tf_metacompress.policy.rules import REGEX, LayerPlan, Rule

_RULE_KEYS = tuple(entry.name for entry in dataclasses.fields(Rule))


@dataclass(frozen=True)
class Policy:
    """An ordered list of rules; where several fit a layer, the last one wins.

    A policy is made by hand, by a baseline or by a learned compressor; the rest of the package
    cannot tell which. A layer that no rule fits stays untouched, in float32.

    Attributes:
        rules: The rules, in order.
        name: Words for tables and plots.
        provenance: Where the policy comes from: strings and finite numbers by key.

    Raises:
        ArgumentTypeError: If a field has a wrong type.
        InvalidArgumentError: If a number of the provenance is not finite.

    Example:
        >>> policy = Policy([Rule("conv*", sparsity=0.7, weight_bits=8), Rule("head")])
        >>> Policy.from_json(policy.to_json()) == policy
        True
    """

    rules: tuple[Rule, ...] = ()
    name: str = field(default="", kw_only=True)
    provenance: Mapping[str, str | float | int] = field(default_factory=FrozenMapping, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields and freezes the containers."""
        if isinstance(self.rules, Rule | str) or not isinstance(self.rules, Iterable):
            raise wrong_type("`rules` must be a sequence of Rule.", rules=self.rules)
        rules = tuple(self.rules)
        for rule in rules:
            if not isinstance(rule, Rule):
                raise wrong_type("Each of `rules` must be a Rule.", rule=rule)
        if not isinstance(self.name, str):
            raise wrong_type("`name` must be a string.", name=self.name)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "provenance", _frozen_provenance(self.provenance))

    @classmethod
    def from_plans(
        cls,
        plans: Iterable[LayerPlan],
        *,
        name: str = "",
        provenance: Mapping[str, str | float | int] | None = None,
    ) -> "Policy":
        """Makes a policy with one rule per layer, each meaning exactly that layer.

        Args:
            plans: One plan per layer.
            name: Words for tables and plots.
            provenance: Where the policy comes from.

        Returns:
            The policy.

        Example:
            >>> Policy.from_plans([LayerPlan("block[1]", weight_bits=8)]).rules[0].layers
            'block[[]1]'
        """
        rules = tuple(plan.rule() for plan in plans)
        return cls(rules, name=name, provenance=provenance or {})

    def resolve(self, layer_infos: Sequence[LayerInfo]) -> tuple[LayerPlan, ...]:
        """Says what happens to each compressible layer of a model.

        Args:
            layer_infos: All layers of the model.

        Returns:
            One plan per compressible layer, in the order of `layer_infos`.

        Raises:
            InvalidArgumentError: If a rule fits no compressible layer (near names are suggested),
                or a plan cannot be carried out on its layer.
            ArgumentTypeError: If `layer_infos` holds anything but `LayerInfo`.
        """
        infos = _compressible(layer_infos)
        plans = {info.name: LayerPlan(info.name) for info in infos}
        for rule in self.rules:
            matching = rule.matching(infos)
            if not matching:
                raise _matches_nothing(rule, layer_infos)
            plans.update((name, rule.plan(name)) for name in matching)
        check_plans(plans.values(), infos)
        return tuple(plans[info.name] for info in infos)

    def mean_weight_bits(self, layer_infos: Sequence[LayerInfo]) -> float:
        """Gives the mean bits of a weight over all compressible kernels, zeros counted too.

        Args:
            layer_infos: All layers of the model.

        Returns:
            Bits per weight, in [2, 32]; 32 for a model with no compressible layer.
        """
        bits = [plan.weight_bits for plan in self.resolve(layer_infos)]
        return _weighted_mean(bits, layer_infos, default=32.0)

    def sparsity(self, layer_infos: Sequence[LayerInfo]) -> float:
        """Gives the share of zeros among the weights of all compressible kernels.

        Args:
            layer_infos: All layers of the model.

        Returns:
            Fraction in [0, 1); 0 for a model with no compressible layer.
        """
        sparsities = [plan.sparsity for plan in self.resolve(layer_infos)]
        return _weighted_mean(sparsities, layer_infos, default=0.0)

    def to_json(self) -> str:
        """Writes the policy as JSON with a schema version.

        Raises:
            InvalidArgumentError: If a rule picks its layers by a callable.
        """
        for rule in self.rules:
            if callable(rule.layers):
                raise invalid(
                    "A rule whose `layers` is a callable cannot be written to a file.",
                    "Use a name, a pattern or a regular expression.",
                    layers=rule.layers,
                )
        return strict_json.to_text(
            {
                "name": self.name,
                "rules": [dataclasses.asdict(rule) for rule in self.rules],
                "provenance": dict(self.provenance),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Reads a policy from JSON, strictly.

        Args:
            text: What `to_json` wrote.

        Returns:
            The policy.

        Raises:
            CorruptFileError: If the text is not such a document; the message names the key.
        """
        document = strict_json.parse(text, what="policy")
        strict_json.check_keys(
            document, where="The policy", required=("rules",), optional=("name", "provenance")
        )
        entries = strict_json.check_list(document["rules"], where="rules")
        rules = [_read_rule(entry, f"rules[{i}]") for i, entry in enumerate(entries)]
        fields = {"name": document.get("name", ""), "provenance": document.get("provenance", {})}
        return strict_json.build(cls, rules, where="The policy", **fields)

    def save(self, path: atomic.PathLike) -> None:
        """Writes the policy to a JSON file, whole or not at all.

        Args:
            path: The file to be written.

        Raises:
            InvalidArgumentError: If the file cannot be written.
        """
        atomic.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: atomic.PathLike) -> "Policy":
        """Reads a policy from a JSON file, strictly.

        Args:
            path: What `save` wrote.

        Returns:
            The policy.

        Raises:
            CorruptFileError: If the file cannot be read or does not hold a policy.
        """
        return cls.from_json(strict_json.read_text(path))


def _read_rule(entry: object, where: str) -> Rule:
    fields = strict_json.check_keys(
        entry, where=where, required=_RULE_KEYS[:1], optional=_RULE_KEYS[1:]
    )
    return strict_json.build(Rule, where=where, **fields)


def _frozen_provenance(provenance: object) -> FrozenMapping[str, str | float | int]:
    if not isinstance(provenance, Mapping):
        raise wrong_type("`provenance` must be a mapping.", provenance=provenance)
    for key, value in provenance.items():
        if not isinstance(key, str) or not isinstance(value, str | int | float):
            raise wrong_type("`provenance` must map strings to strings and numbers.", value=value)
        if isinstance(value, float) and not math.isfinite(value):
            raise invalid("The numbers of `provenance` must be finite.", **{key: value})
    return FrozenMapping(provenance)


def _compressible(layer_infos: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    for info in layer_infos:
        if not isinstance(info, LayerInfo):
            raise _not_layer_info(info)
    return tuple(info for info in layer_infos if info.compressible)


def _not_layer_info(info: object) -> ArgumentTypeError:
    return wrong_type(
        "`layer_infos` must hold LayerInfo.",
        "Pass what `describe(model)` returns.",
        layer_info=info,
    )


def _matches_nothing(rule: Rule, layer_infos: Sequence[LayerInfo]) -> Exception:
    others = rule.matching(info for info in layer_infos if not info.compressible)
    if others:
        return invalid(
            f"A rule fits only layers that cannot be compressed: {', '.join(others)}.",
            "Remove the rule.",
            layers=rule.layers,
        )
    known = [info.name for info in layer_infos if info.compressible]
    short = [name.rpartition("/")[2] for name in known]
    text = "" if callable(rule.layers) else rule.layers.removeprefix(REGEX).strip("*")
    hint = did_you_mean(text, known + short) if text else ""
    listed = f"The layers are: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}."
    return invalid("A rule fits no layer.", f"{hint} {listed}".strip(), layers=rule.layers)


def _weighted_mean(
    values: Sequence[Any], layer_infos: Sequence[LayerInfo], *, default: float
) -> float:
    weights = [info.num_weights for info in _compressible(layer_infos)]
    total = sum(weights)
    if not total:
        return default
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / total
