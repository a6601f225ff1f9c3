"""A latency budget met by removing channels, before Φ decides on the rest.

Bits and single zeros hardly change a latency; fewer channels do. Which go is not learned: widths
are searched with the prior's damage, the summed LAMP scores of whole channels.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy import compressible_layers, describe, kernel_arrays
from tf_metacompress.anatomy.channels import read_channels
from tf_metacompress.errors import invalid
from tf_metacompress.meta.policy_origin import budget_provenance
from tf_metacompress.policy import (
    Action,
    Budget,
    ChannelGroup,
    DeviceProfile,
    LatencyPredictor,
    LatencyTable,
    LayerInfo,
    Policy,
    cost_table,
    fit_latency,
    lamp_damage,
)
from tf_metacompress.policy import device as device_profile
from tf_metacompress.policy.format_borders import Latencies, fastest_formats, in_float
from tf_metacompress.policy.width_search import WidthOptions, WidthSearch
from tf_metacompress.surgery import as_functional, remove_channels
from tf_metacompress.surgery.selection import (
    CHANNEL,
    channels_kept,
    folded_energy,
    group_scores,
    kernel_layers,
)

_NUM_STEPS = 8
_ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """A model that meets a latency with fewer channels, and what is left to decide.

    Attributes:
        model: The model without the channels; the given one is not changed.
        asked: The budget that was given.
        budget: The same limits for the smaller model.
        latency: Latencies of its layers, measured or predicted.
        actions: What may still be done to a layer; nothing that removes single weights, since a
            plan has one pattern.
        removed: Share of the channels that go, by layer.
    """

    model: keras.Model
    asked: Budget
    budget: Budget
    latency: LatencyTable
    actions: tuple[Action, ...]
    removed: Mapping[str, float]

    def policy(self, rest: Policy) -> Policy:
        """Joins the removal of channels with a policy for the smaller model.

        Args:
            rest: A policy for `model`.

        Returns:
            A policy for the model that was given.
        """
        plans = [
            dataclasses.replace(plan, sparsity=self.removed[plan.layer], pattern=CHANNEL)
            if plan.layer in self.removed
            else plan
            for plan in rest.resolve(describe(self.model))
        ]
        noted = {k: v for k, v in rest.provenance.items() if not k.startswith("budget_")}
        provenance = {**noted, "channels": "prior", **budget_provenance(self.asked)}
        return Policy.from_plans(plans, name=rest.name, provenance=provenance)


def narrow_to_latency(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile,
    latency: LatencyTable | None,
    actions: Sequence[Action],
) -> Narrowing | None:
    """Removes channels until a model meets the latency of a budget.

    Args:
        model: A built Keras 3 model. It is not changed.
        budget: What the compressed model may cost.
        device: Name of a device or a profile.
        latency: Measured latencies; must hold the layers of the model as they are. Narrower ones
            that it lacks are predicted from it.
        actions: What may be done to a layer beside.

    Returns:
        The smaller model; None when all channels can stay: no latency is limited, it is met
        without, or zeros make layers faster on this device.

    Raises:
        InfeasibleBudgetError: If an eighth of the channels is still too slow.
        UnsupportedModelError: If the channels of the model cannot be followed.
        InvalidArgumentError: If no action leaves all weights of a layer in place.
    """
    profile = device_profile(device)
    limited = isinstance(budget, Budget) and budget.latency_ms is not None
    if not limited or not isinstance(latency, LatencyTable) or profile.pays("latency_ms"):
        return None
    infos = compressible_layers(model)
    dense = tuple(action for action in actions if not action.sparsity)
    if not dense:
        raise invalid("A latency budget needs an action of sparsity 0.", actions=len(actions))
    latencies = [_fastest(latency, profile, dense, info) for info in infos]
    whole_ms, _ = fastest_formats(latencies, latency.border_ms)
    if whole_ms + latency.overhead_ms <= budget.latency_ms * _ROUNDING:
        return None
    functional = as_functional(model)
    predictor = fit_latency(latency)
    search = WidthSearch(
        infos,
        _options(functional, profile),
        lambda info: _fastest(predictor, profile, dense, info),
        latency.overhead_ms,
        latency.border_ms,
    )
    removed = _shares(search, search.choose(budget.latency_ms * _ROUNDING))
    smaller, _ = remove_channels(model, removed, device=profile)
    return Narrowing(
        model=smaller,
        asked=budget,
        budget=same_limits(budget, model, smaller, profile),
        latency=predictor.fill(compressible_layers(smaller), dense),
        actions=dense,
        removed=removed,
    )


def _fastest(
    latencies: LatencyTable | LatencyPredictor,
    profile: DeviceProfile,
    actions: Sequence[Action],
    info: LayerInfo,
) -> Latencies:
    """Latency of a layer in integers and float32, under the fastest action that the device runs."""
    allowed = profile.actions(info, actions)
    runs = [action for action, is_allowed in zip(actions, allowed, strict=True) if is_allowed]
    if not runs:
        raise invalid(
            "The device must be able to run one of the actions without zeros on every layer.",
            "Give `actions` with bits that it stores, or another device.",
            device=profile.name,
            layer=info.name,
        )
    integers, floats = (
        min((latencies.lookup(info, a) for a in runs if in_float(a) == wanted), default=math.inf)
        for wanted in (False, True)
    )
    return integers, floats


def _options(model: keras.Model, profile: DeviceProfile) -> list[WidthOptions]:
    energy = folded_energy(model)
    return [
        _options_of(group, group_scores(group, energy), profile)
        for group in read_channels(model).groups
        if group.removable and kernel_layers(group)
    ]


def _options_of(group: ChannelGroup, scores: np.ndarray, profile: DeviceProfile) -> WidthOptions:
    """Eighths of the channels, rounded up to the device's multiple, the weakest ones first."""
    steps = [channels_kept(group, step / _NUM_STEPS, profile) for step in range(_NUM_STEPS)]
    counts = sorted({group.size - kept for kept in steps} | {0})
    order = np.argsort(scores, kind="stable").tolist()
    shares = np.array(counts) / group.size
    return WidthOptions(
        group=group,
        removed=tuple(tuple(order[:count]) for count in counts),
        damage=tuple(lamp_damage(np.sqrt(scores), shares).tolist()),
    )


def _shares(search: WidthSearch, choice: Sequence[int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entry, option in zip(search.options, choice, strict=True):
        share = len(entry.removed[option]) / entry.group.size
        for layer in kernel_layers(entry.group) if share else ():
            found[layer] = max(share, found.get(layer, 0.0))
    return found


def same_limits(
    budget: Budget, model: keras.Model, smaller: keras.Model, profile: DeviceProfile
) -> Budget:
    """Turns shares of a model into what they mean for a smaller one.

    Args:
        budget: Limits for the model.
        model: The model.
        smaller: The same with fewer channels.
        profile: The device.

    Returns:
        The same limits for the smaller one.
    """
    if budget.size_ratio is None and budget.macs_ratio is None:
        return budget
    before, after = (
        cost_table(
            describe(one),
            kernel_arrays(one),
            device=profile,
            actions=[Action()],
            resources=["macs"],
        ).reference
        for one in (model, smaller)
    )
    limits = budget.limits(before)
    macs = limits.get("macs")
    return dataclasses.replace(
        budget,
        size_ratio=None,
        size_bytes=limits.get("size_bytes"),
        macs_ratio=None if macs is None else min(macs / after["macs"], 1.0),
    )
