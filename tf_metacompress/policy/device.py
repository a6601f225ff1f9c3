"""What a device can run, and where sparsity pays on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_metacompress.errors import check_choice, check_int, did_you_mean, invalid, wrong_type
from tf_metacompress.policy import strict_json
from tf_metacompress.policy.action import ACTIVATION_BITS, WEIGHT_BITS, Action
from tf_metacompress.policy.budget import RESOURCES
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.pattern import PATTERN_KINDS, parse_pattern
from tf_metacompress.policy.rules import LayerPlan
from tf_metacompress.policy.storage import check_storable
from tf_metacompress.typing import Pattern


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong_type(f"`{name}` must be a mapping with string keys.", **{name: value})
    return value


def _choices(name: str, values: object, choices: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise invalid(f"`{name}` must be a non-empty sequence.", **{"values": values})
    return tuple(check_choice(name, value, choices) for value in values)


def _patterns(values: object) -> tuple[Pattern, ...]:
    """Checks names of structures; "N:M" and "block" mean all sizes of theirs."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise invalid("`patterns` must be a non-empty sequence.", patterns=values)
    for value in values:
        if value not in PATTERN_KINDS:
            parse_pattern(value)
    return tuple(values)


def _frozen_pays(pays: object) -> FrozenMapping[str, bool]:
    for resource, value in _mapping("sparsity_pays", pays).items():
        check_choice("sparsity_pays", resource, RESOURCES)
        if not isinstance(value, bool):
            raise wrong_type("`sparsity_pays` must map resources to bools.", value=value)
    return FrozenMapping(pays)


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """The actions that a device can run, and the resources in which zeros pay on it.

    Attributes:
        name: Short name, such as "android-arm64".
        weight_bits: Bits that the device runs, by layer kind; "*" stands for all other kinds.
        activation_bits: Bits of activations that the device runs.
        channel_multiple: Channel counts below the next multiple of this save no time.
        sparsity_pays: By resource, whether zeros make it smaller; False where not given.
        patterns: Structures in which the device accepts zeros; "N:M" and "block" mean all sizes.
        description: One sentence for people.

    Raises:
        InvalidArgumentError: If a value is out of its range.

    Example:
        >>> device("android-arm64").round_channels(21)
        24
    """

    name: str
    weight_bits: Mapping[str, tuple[int, ...]]
    activation_bits: tuple[int, ...] = (8,)
    channel_multiple: int = 1
    sparsity_pays: Mapping[str, bool] = field(default_factory=FrozenMapping)
    patterns: tuple[Pattern, ...] = ("unstructured",)
    description: str = ""

    def __post_init__(self) -> None:
        """Checks the fields and freezes the containers."""
        if not isinstance(self.name, str) or not self.name:
            raise invalid("`name` must be a non-empty string.", name=self.name)
        if not isinstance(self.description, str):
            raise wrong_type("`description` must be a string.", description=self.description)
        bits = {
            kind: _choices(f"weight_bits[{kind!r}]", values, WEIGHT_BITS)
            for kind, values in _mapping("weight_bits", self.weight_bits).items()
        }
        if "*" not in bits:
            raise invalid("`weight_bits` must hold '*', for kinds not named.", weight_bits=bits)
        settled = {
            "weight_bits": FrozenMapping(bits),
            "activation_bits": _choices("activation_bits", self.activation_bits, ACTIVATION_BITS),
            "channel_multiple": check_int("channel_multiple", self.channel_multiple, 1),
            "sparsity_pays": _frozen_pays(self.sparsity_pays),
            "patterns": _patterns(self.patterns),
        }
        for key, value in settled.items():
            object.__setattr__(self, key, value)

    def bits(self, kind: str) -> tuple[int, ...]:
        """Gives the weight bits that the device runs for one kind of layer."""
        return self.weight_bits.get(kind, self.weight_bits["*"])

    def pays(self, resource: str) -> bool:
        """Says whether zeros make a resource smaller on this device."""
        return self.sparsity_pays.get(check_choice("resource", resource, RESOURCES), False)

    def actions(self, layer_info: LayerInfo, grid: Sequence[Action]) -> np.ndarray:
        """Masks the actions that the device can run on a layer.

        Args:
            layer_info: The layer.
            grid: A actions.

        Returns:
            Bool array of shape (A,); all False for a layer that cannot be compressed.
        """
        bits = self.bits(layer_info.kind) if layer_info.compressible else ()
        allowed = [a.weight_bits in bits and self._accepts(a.pattern) for a in grid]
        return np.array(allowed, dtype=bool)

    def _accepts(self, pattern: Pattern) -> bool:
        return pattern in self.patterns or parse_pattern(pattern).kind in self.patterns

    def check(self, plans: Iterable[LayerPlan], layer_infos: Iterable[LayerInfo]) -> None:
        """Raises when the runtime of the device cannot store what plans ask for.

        Zeros in any pattern can be stored, so patterns are not looked at, and neither are the
        float widths 16 and 32.

        Args:
            plans: What is to happen to layers, as `Policy.resolve` gives it.
            layer_infos: The layers.

        Raises:
            InvalidArgumentError: If weights or activations of a layer cannot be stored; the message
                names the layer, what was asked for and what the device offers.
        """
        kinds = {info.name: info.kind for info in layer_infos}
        for plan in plans:
            bits = self.bits(kinds.get(plan.layer, "*"))
            check_storable(plan, self.name, bits, self.activation_bits)

    def round_channels(self, num_channels: int) -> int:
        """Rounds a channel count up to what costs no more time.

        Args:
            num_channels: Channels wanted, at least 1.

        Returns:
            The next multiple of `channel_multiple`.

        Raises:
            InvalidArgumentError: If `num_channels` is not a positive integer.
        """
        count = check_int("num_channels", num_channels, 1)
        return -(-count // self.channel_multiple) * self.channel_multiple

    def to_json(self) -> str:
        """Writes the profile as JSON with a schema version."""
        return strict_json.to_text(
            {
                "name": self.name,
                "description": self.description,
                "weight_bits": {kind: list(bits) for kind, bits in self.weight_bits.items()},
                "activation_bits": list(self.activation_bits),
                "channel_multiple": self.channel_multiple,
                "sparsity_pays": dict(self.sparsity_pays),
                "patterns": list(self.patterns),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "DeviceProfile":
        """Reads a profile from JSON, strictly.

        Args:
            text: What `to_json` wrote.

        Returns:
            The profile.

        Raises:
            CorruptFileError: If the text is not such a document; the message names the key.
        """
        document = strict_json.check_keys(
            strict_json.parse(text, what="device profile"),
            where="The device profile",
            required=("name", "weight_bits"),
            optional=tuple(cls.__dataclass_fields__),
        )
        return strict_json.build(cls, where="The device profile", **document)


# Dense layers pack 4-bit levels; all others, and all other widths, are stored in int8.
_UP_TO_INT8 = {"*": (2, 3, 4, 5, 6, 7, 8)}
_INT8_AND_INT16 = (8, 16)

DEVICES: Mapping[str, DeviceProfile] = FrozenMapping(
    {
        profile.name: profile
        for profile in (
            DeviceProfile(
                name="android-arm64",
                weight_bits=_UP_TO_INT8,
                activation_bits=_INT8_AND_INT16,
                channel_multiple=8,
                sparsity_pays={"size_bytes": True},
                description="64-bit ARM phone, XNNPACK: zeros shrink the download only.",
            ),
            DeviceProfile(
                name="cortex-m",
                weight_bits=_UP_TO_INT8,
                activation_bits=_INT8_AND_INT16,
                channel_multiple=4,
                sparsity_pays={"size_bytes": True},
                description="ARM microcontroller, CMSIS-NN: flash holds zeros too.",
            ),
            DeviceProfile(
                name="x86-host",
                weight_bits=_UP_TO_INT8,
                activation_bits=_INT8_AND_INT16,
                channel_multiple=16,
                sparsity_pays={"size_bytes": True},
                description="x86-64 computer, XNNPACK: zeros shrink the download only.",
            ),
        )
    }
)
"""The built-in profiles by name."""


def device(name_or_profile: str | DeviceProfile) -> DeviceProfile:
    """Gives a device profile.

    Args:
        name_or_profile: Name of a built-in profile, or a profile, which is returned as it is.

    Returns:
        The profile.

    Raises:
        InvalidArgumentError: If no built-in profile has that name; a near one is suggested.
        ArgumentTypeError: If it is neither a string nor a profile.

    Example:
        >>> device("cortex-m").channel_multiple
        4
    """
    if isinstance(name_or_profile, DeviceProfile):
        return name_or_profile
    if not isinstance(name_or_profile, str):
        raise wrong_type("`device` must be a name or a DeviceProfile.", device=name_or_profile)
    if name_or_profile not in DEVICES:
        raise invalid(
            f"`device` must be one of {', '.join(map(repr, DEVICES))}, or a DeviceProfile.",
            did_you_mean(name_or_profile, DEVICES),
            device=name_or_profile,
        )
    return DEVICES[name_or_profile]
