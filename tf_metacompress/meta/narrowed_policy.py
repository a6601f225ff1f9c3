"""A policy as it stands once the channels that it removes are gone."""

import dataclasses
from dataclasses import dataclass

import keras

from tf_metacompress.anatomy import describe
from tf_metacompress.meta.narrowing import same_limits
from tf_metacompress.policy import (
    Action,
    Budget,
    DeviceProfile,
    LatencyTable,
    LayerInfo,
    LayerPlan,
    Policy,
    fit_latency,
)
from tf_metacompress.surgery import remove_channels
from tf_metacompress.surgery.selection import CHANNEL


@dataclass(frozen=True, kw_only=True)
class NarrowedPolicy:
    """What is left to be judged when channels are gone.

    Attributes:
        model: The model without the channels; the given one when none can go.
        policy: What happens to the layers of `model`.
        budget: The same limits for `model`, None without.
        latency: Latencies that hold its layers, None without.
        notes: Which channels are gone.
    """

    model: keras.Model
    policy: Policy
    budget: Budget | None
    latency: LatencyTable | None
    notes: tuple[str, ...] = ()


def without_channels(
    model: keras.Model,
    policy: Policy,
    profile: DeviceProfile,
    budget: Budget | None,
    latency: LatencyTable | None,
) -> NarrowedPolicy:
    """Carries out what a policy does to channels, and nothing else.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: A policy for it.
        profile: Whose channel multiple counts are rounded up to.
        budget: What the compressed model may cost.
        latency: Measured latencies; those of narrower layers are predicted from them.

    Returns:
        Model and policy of the layers as they are then.
    """
    given = NarrowedPolicy(model=model, policy=policy, budget=budget, latency=latency)
    infos = describe(model)
    plans = policy.resolve(infos)
    if not any(plan.pattern == CHANNEL and plan.sparsity for plan in plans):
        return given
    smaller, report = remove_channels(model, policy, device=profile)
    if smaller is model:
        return given
    widths = {info.name: info.output_shape[-1:] for info in infos}
    left = describe(smaller)
    cut = {info.name for info in left if info.output_shape[-1:] != widths[info.name]}
    rest = [_dense(plan) if plan.layer in cut else plan for plan in plans]
    gone = [group for group in report.groups if group.channels_after < group.channels_before]
    return NarrowedPolicy(
        model=smaller,
        policy=Policy.from_plans(rest, name=policy.name, provenance=policy.provenance),
        budget=None if budget is None else same_limits(budget, model, smaller, profile),
        latency=None if latency is None else _filled(latency, left, plans),
        notes=tuple(
            f"{' + '.join(group.layers)}: {group.channels_after} of {group.channels_before} "
            "channels stay; the layers are judged at that width, the damage of its loss is not."
            for group in gone
        ),
    )


def _dense(plan: LayerPlan) -> LayerPlan:
    if plan.pattern != CHANNEL:
        return plan
    return dataclasses.replace(plan, sparsity=0.0, pattern="unstructured")


def _filled(
    latency: LatencyTable,
    infos: tuple[LayerInfo, ...],
    plans: tuple[LayerPlan, ...],
) -> LatencyTable:
    """Latencies of every layer under every number of bits that is known or planned."""
    bits = {action.weight_bits for _, action in latency} | {plan.weight_bits for plan in plans}
    return fit_latency(latency).fill(infos, [Action(weight_bits=each) for each in sorted(bits)])
