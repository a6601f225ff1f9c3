"""What a policy says about layers: rules by name, and the plan of one layer."""

import fnmatch
import glob
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from tf_metacompress.errors import check_choice, check_fraction, invalid
from tf_metacompress.policy.action import ACTIVATION_BITS, WEIGHT_BITS, Action
from tf_metacompress.typing import Pattern

_WILDCARDS = "*?["


@dataclass(frozen=True)
class Rule:
    """What to do with every layer whose name fits.

    Attributes:
        layers: Name of a layer, or a shell pattern such as "conv*". It is compared with the full
            path of a layer and with the last part of it; a plain name that is the full path of some
            layer means that layer only.
        sparsity: Fraction of zeros, in [0, 1).
        weight_bits: 4, 8, 16 or 32; 32 leaves the weights in float32.
        activation_bits: 8, 16 or 32. None means 8 when the weights have fewer than 32 bits, else
            32.
        pattern: Structure in which weights are removed.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> rule = Rule("conv*", sparsity=0.7, weight_bits=8)
        >>> rule.matching(["conv1", "backbone/conv2", "head"])
        ('conv1', 'backbone/conv2')
    """

    layers: str
    sparsity: float = field(default=0.0, kw_only=True)
    weight_bits: int = field(default=32, kw_only=True)
    activation_bits: int | None = field(default=None, kw_only=True)
    pattern: Pattern = field(default="unstructured", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the values and fills in the bits of the activations."""
        if not isinstance(self.layers, str) or not self.layers:
            raise invalid("`layers` must be a layer name or pattern.", layers=self.layers)
        _settle(self)

    def matching(self, names: Iterable[str]) -> tuple[str, ...]:
        """Picks the names that the rule is about, in their order."""
        names = tuple(names)
        whole = tuple(name for name in names if fnmatch.fnmatchcase(name, self.layers))
        if whole and self._is_plain():
            return whole
        return tuple(
            name
            for name in names
            if name in whole or fnmatch.fnmatchcase(name.rpartition("/")[2], self.layers)
        )

    def plan(self, layer: str) -> "LayerPlan":
        """Gives the plan that this rule makes for one layer."""
        return LayerPlan(
            layer=layer,
            sparsity=self.sparsity,
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            pattern=self.pattern,
        )

    def _is_plain(self) -> bool:
        bare = self.layers
        for wildcard in _WILDCARDS:
            bare = bare.replace(f"[{wildcard}]", "")
        return not any(wildcard in bare for wildcard in _WILDCARDS)


@dataclass(frozen=True)
class LayerPlan:
    """What will be done to one layer; by default nothing.

    Attributes:
        layer: Full path of the layer.
        sparsity: Fraction of zeros, in [0, 1).
        weight_bits: 4, 8, 16 or 32; 32 leaves the weights in float32.
        activation_bits: 8, 16 or 32. None means 8 when the weights have fewer than 32 bits, else
            32.
        pattern: Structure in which weights are removed.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> LayerPlan("conv1", sparsity=0.5, weight_bits=8).activation_bits
        8
    """

    layer: str
    sparsity: float = 0.0
    weight_bits: int = 32
    activation_bits: int | None = None
    pattern: Pattern = "unstructured"

    def __post_init__(self) -> None:
        """Checks the values and fills in the bits of the activations."""
        if not isinstance(self.layer, str) or not self.layer:
            raise invalid("`layer` must be the name of a layer.", layer=self.layer)
        _settle(self)

    @property
    def action(self) -> Action:
        """The part of the plan that concerns the weights."""
        return Action(sparsity=self.sparsity, weight_bits=self.weight_bits, pattern=self.pattern)

    @property
    def untouched(self) -> bool:
        """Whether the layer stays exactly as it is."""
        return self.sparsity == 0.0 and self.weight_bits == 32 and self.activation_bits == 32

    def rule(self) -> Rule:
        """Gives the rule that means this layer and no pattern."""
        return Rule(
            glob.escape(self.layer),
            sparsity=self.sparsity,
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            pattern=self.pattern,
        )


def _settle(data: Any) -> None:
    """Checks the fields that rules and plans share, and stores them as plain Python values."""
    settled = {
        "sparsity": check_fraction("sparsity", data.sparsity),
        "weight_bits": check_choice("weight_bits", data.weight_bits, WEIGHT_BITS),
        "pattern": check_choice("pattern", data.pattern, get_args(Pattern)),
    }
    bits = data.activation_bits
    if bits is None:
        bits = 8 if settled["weight_bits"] < 32 else 32
    settled["activation_bits"] = check_choice("activation_bits", bits, ACTIVATION_BITS)
    for name, value in settled.items():
        object.__setattr__(data, name, value)
