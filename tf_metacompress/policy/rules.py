"""What a policy says about layers: rules by name, and the plan of one layer."""

import dataclasses
import fnmatch
import glob
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.policy.action import Action
from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.settling import settle
from tf_metacompress.typing import Granularity, Pattern, QuantizerName, RangeSetting, Score

REGEX = "re:"
"""What the text of a rule begins with when the rest is a regular expression."""

_WILDCARDS = "*?["
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "a": re.ASCII}

Layers = str | re.Pattern[str] | Callable[[LayerInfo], bool]


@dataclass(frozen=True)
class Rule:
    """What to do with every layer that fits.

    Attributes:
        layers: Name of a layer, or a shell pattern such as "conv*". It is compared with the full
            path of a layer and with the last part of it; a plain name that is the full path of some
            layer means that layer only. A compiled regular expression, or "re:" and its text, is
            searched for in the full path. A callable that takes a `LayerInfo` and gives a bool
            works too, but such a policy cannot be written to a file.
        sparsity: Fraction of zeros, in [0, 1). An N:M pattern implies it.
        weight_bits: 2 to 8, 16 (float16) or 32, which leaves the weights in float32.
        activation_bits: 2 to 8, 16 or 32. None means 8 when the weights have fewer than 32 bits,
            else 32.
        pattern: Structure in which weights are removed: "unstructured", "channel", "N:M" such as
            "2:4" (keep 2 of every 4 along the input axis), "block" (of 4x4), "block:AxB" or
            "block:AxB:max".
        score: What decides which weights are removed: "magnitude", "taylor", "activation" or
            "random".
        threshold: Removes the weights of smaller magnitude, instead of a sparsity.
        quantizer: Values that weights of 2 to 8 bits can take: "symmetric", "affine", "log2",
            "codebook" or "short_scale" (symmetric, its scales rounded so that gzip stores them in
            fewer bytes).
        granularity: Whether each output channel has a grid of its own: "per_channel" or
            "per_tensor".
        range_setting: How the range of the symmetric grid is chosen: "min_max", "percentile" or
            "mse".

    Raises:
        InvalidArgumentError: If a value is out of its range, or two contradict each other.

    Example:
        >>> rule = Rule("conv*", sparsity=0.7, weight_bits=8)
        >>> rule.matching(["conv1", "backbone/conv2", "head"])
        ('conv1', 'backbone/conv2')
    """

    layers: Layers
    sparsity: float = field(default=0.0, kw_only=True)
    weight_bits: int = field(default=32, kw_only=True)
    activation_bits: int | None = field(default=None, kw_only=True)
    pattern: Pattern = field(default="unstructured", kw_only=True)
    score: Score = field(default="magnitude", kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    quantizer: QuantizerName = field(default="symmetric", kw_only=True)
    granularity: Granularity = field(default="per_channel", kw_only=True)
    range_setting: RangeSetting = field(default="min_max", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the values and fills in the bits of the activations."""
        object.__setattr__(self, "layers", _settle_layers(self.layers))
        settle(self)

    def matching(self, layers: Iterable[str | LayerInfo]) -> tuple[str, ...]:
        """Picks the layers that the rule is about.

        Args:
            layers: Names of layers; a rule with a callable needs `LayerInfo`.

        Returns:
            Names, in their order.

        Raises:
            ArgumentTypeError: If names are given to a rule with a callable.
        """
        layers = tuple(layers)
        names = tuple(layer if isinstance(layer, str) else layer.name for layer in layers)
        if callable(self.layers):
            return tuple(info.name for info in layers if self.layers(_layer_info(info)))
        if self.layers.startswith(REGEX):
            expression = re.compile(self.layers[len(REGEX) :])
            return tuple(name for name in names if expression.search(name))
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
        return LayerPlan(layer, **_details(self))

    def _is_plain(self) -> bool:
        bare = self.layers
        for wildcard in (*_WILDCARDS, REGEX[0]):
            bare = bare.replace(f"[{wildcard}]", "")
        return not any(wildcard in bare for wildcard in _WILDCARDS)


@dataclass(frozen=True)
class LayerPlan:
    """What will be done to one layer; by default nothing.

    Attributes:
        layer: Full path of the layer.
        sparsity: Fraction of zeros, in [0, 1). An N:M pattern implies it.
        weight_bits: 2 to 8, 16 (float16) or 32, which leaves the weights in float32.
        activation_bits: 2 to 8, 16 or 32. None means 8 when the weights have fewer than 32 bits,
            else 32.
        pattern: Structure in which weights are removed.
        score: What decides which weights are removed.
        threshold: Removes the weights of smaller magnitude, instead of a sparsity.
        quantizer: Values that weights of 2 to 8 bits can take.
        granularity: Whether each output channel has a grid of its own.
        range_setting: How the range of the symmetric grid is chosen.

    Raises:
        InvalidArgumentError: If a value is out of its range, or two contradict each other.

    Example:
        >>> LayerPlan("conv1", sparsity=0.5, weight_bits=8).activation_bits
        8
    """

    layer: str
    sparsity: float = 0.0
    weight_bits: int = 32
    activation_bits: int | None = None
    pattern: Pattern = "unstructured"
    score: Score = field(default="magnitude", kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    quantizer: QuantizerName = field(default="symmetric", kw_only=True)
    granularity: Granularity = field(default="per_channel", kw_only=True)
    range_setting: RangeSetting = field(default="min_max", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the values and fills in the bits of the activations."""
        if not isinstance(self.layer, str) or not self.layer:
            raise invalid("`layer` must be the name of a layer.", layer=self.layer)
        settle(self)

    @property
    def action(self) -> Action:
        """The part of the plan that concerns the weights."""
        return Action(sparsity=self.sparsity, weight_bits=self.weight_bits, pattern=self.pattern)

    @property
    def prunes(self) -> bool:
        """Whether weights are removed."""
        return self.sparsity > 0.0 or self.threshold is not None

    @property
    def is_scored(self) -> bool:
        """Whether a score other than the magnitude chooses weights, or channels of a group."""
        return self.score != "magnitude" and (self.sparsity > 0.0 or self.pattern == "channel")

    @property
    def untouched(self) -> bool:
        """Whether the layer stays exactly as it is."""
        return not self.prunes and self.weight_bits == 32 and self.activation_bits == 32

    def rule(self) -> Rule:
        """Gives the rule that means this layer and no pattern."""
        escaped = glob.escape(self.layer)
        is_regex = escaped.startswith(REGEX)
        return Rule(f"[{escaped[0]}]{escaped[1:]}" if is_regex else escaped, **_details(self))


def _details(data: Rule | LayerPlan) -> dict[str, Any]:
    """Gives what rules and plans share: all but the layer."""
    return {entry.name: getattr(data, entry.name) for entry in dataclasses.fields(data)[1:]}


def _layer_info(value: object) -> LayerInfo:
    if not isinstance(value, LayerInfo):
        raise wrong_type("A rule with a callable is matched against LayerInfo.", layer=value)
    return value


def _settle_layers(layers: object) -> Layers:
    """Checks what a rule is about, and turns a compiled expression into text."""
    if isinstance(layers, re.Pattern):
        layers = _text_of(layers)
    if callable(layers):
        return layers
    if not isinstance(layers, str) or not layers.removeprefix(REGEX):
        raise invalid(
            "`layers` must be a layer name or pattern, a regular expression, or a callable.",
            layers=layers,
        )
    if layers.startswith(REGEX):
        try:
            re.compile(layers[len(REGEX) :])
        except re.error as error:
            raise invalid(f"`layers` is no regular expression: {error}.", layers=layers) from error
    return layers


def _text_of(expression: re.Pattern[Any]) -> str:
    if not isinstance(expression.pattern, str):
        raise invalid("`layers` must be an expression for text, not bytes.", layers=expression)
    flags = "".join(letter for letter, flag in _FLAGS.items() if expression.flags & flag)
    return f"{REGEX}{f'(?{flags})' if flags else ''}{expression.pattern}"
