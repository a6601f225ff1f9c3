"""`remove_channels`: a model with fewer channels, proved equal to the masked one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tf_metacompress.anatomy import check_keras_model, describe
from tf_metacompress.anatomy.channels import ChannelGraph, read_channels
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.policy import DeviceProfile, LayerPlan, Policy
from tf_metacompress.policy import device as device_profile
from tf_metacompress.surgery.functional import as_functional
from tf_metacompress.surgery.proof import TOLERANCE, Proof
from tf_metacompress.surgery.rebuild import rebuild
from tf_metacompress.surgery.report import GroupRemoval, RemovalReport
from tf_metacompress.surgery.selection import (
    CHANNEL,
    Sparsities,
    as_policy,
    choose_by_score,
    choose_dead,
    group_sparsities,
)
from tf_metacompress.wrappers import is_compressed

Chosen = Sequence[Collection[int]]


@dataclass(frozen=True)
class Outcome:
    """A smaller model and how it came about.

    Attributes:
        model: The model.
        removed: For each group, the indices of the channels that are gone.
        gap: Largest difference from the masked model; NaN when not measured.
        failures: Groups that were left, and why.
    """

    model: keras.Model
    removed: Chosen
    gap: float
    failures: dict[int, str]


def remove_channels(
    model: keras.Model,
    policy: Sparsities | None = None,
    *,
    device: str | DeviceProfile = "android-arm64",
    samples: Any = None,
    verify: bool = True,
) -> tuple[keras.Model, RemovalReport]:
    """Makes a model smaller by removing whole channels from all layers that share them.

    Channels of a group go together and are scored together, by the sum of the squared norms of the
    kernels that make them, BatchNormalization folded in. Counts are rounded up to what the device
    runs without loss, and at least one such multiple stays. The smaller model is run beside the old
    one with the same channels set to zero; a group for which they differ is left as it is.

    Args:
        model: A built Keras 3 model. It is not changed. A subclassed model comes back as a
            Functional one.
        policy: A `Policy`, of which the layers with `pattern="channel"` count; fractions by layer
            name or pattern; one fraction for all layers; or None to remove the channels that are
            zero already. Of different fractions in a group, the largest counts.
        device: Whose channel multiple the counts are rounded up to.
        samples: Real inputs to compare on, beside random ones, in the structure the model takes.
        verify: Whether to compare at all.

    Returns:
        A plain, uncompiled Keras model with the same layer names, and what was removed and left.
        It is `model` itself when nothing could be removed.

    Raises:
        InvalidArgumentError: When a rule of the policy matches no layer.
        UnsupportedModelError: For a Keras 2 model, or one that is being compressed.

    Example:
        >>> parts = [keras.layers.Dense(32, name="hidden"), keras.layers.Dense(3, name="head")]
        >>> model = keras.Sequential([keras.Input((4,)), *parts])
        >>> smaller, report = remove_channels(model, {"hidden": 0.5})
        >>> smaller.get_layer("hidden").units, report.left
        (16, ())
    """
    check_keras_model(model)
    _check_plain(model)
    profile = device_profile(device)
    wanted = None if policy is None else as_policy(policy)
    if isinstance(wanted, Policy):
        wanted.resolve(describe(model))
    try:
        functional = as_functional(model)
    except UnsupportedModelError as error:
        return model, _all_left(model, wanted, str(error))
    graph = read_channels(functional)
    if wanted is None:
        sparsities = [float(dead.mean()) for dead in graph.dead]
        chosen = choose_dead(graph, profile)
    else:
        sparsities = group_sparsities(functional, graph.groups, wanted)
        chosen = choose_by_score(functional, graph, sparsities, profile)
    cut = cut_channels(
        functional, graph, chosen, Proof(functional, graph, samples) if verify else None
    )
    smaller = cut.model if any(cut.removed) else model
    return smaller, _report(model, smaller, graph, sparsities, cut)


def _check_plain(model: keras.Model) -> None:
    if is_compressed(model):
        raise UnsupportedModelError(
            "Channels are removed from plain models, and this one is being compressed. "
            f"Received: model={model.name!r}. Call `finalize` first."
        )


def cut_channels(
    model: keras.Model, graph: ChannelGraph, chosen: Chosen, proof: Proof | None
) -> Outcome:
    """Cuts all groups at once; when the result is wrong, only those that are right alone.

    Args:
        model: A built Sequential or Functional model. It is not changed.
        graph: Its channels.
        chosen: For each group, the indices of the channels that go.
        proof: What compares; None to take the result on trust.

    Returns:
        The smaller model, or the model itself with reasons.
    """
    attempt = _attempt(model, graph, chosen, proof)
    if isinstance(attempt, Outcome):
        return attempt
    failures = {}
    for index, channels in enumerate(chosen):
        alone = [channels if other == index else () for other in range(len(chosen))]
        tried = _attempt(model, graph, alone, proof) if channels else None
        if isinstance(tried, str):
            failures[index] = tried
    rest = [() if index in failures else channels for index, channels in enumerate(chosen)]
    attempt = _attempt(model, graph, rest, proof)
    if isinstance(attempt, Outcome):
        return Outcome(attempt.model, rest, attempt.gap, failures)
    failures = {index: attempt for index, channels in enumerate(chosen) if channels}
    return Outcome(model, [()] * len(chosen), float("nan"), failures)


def _attempt(
    model: keras.Model, graph: ChannelGraph, chosen: Chosen, proof: Proof | None
) -> Outcome | str:
    """The cut, or why it is not right."""
    if not any(chosen):
        return Outcome(model, chosen, float("nan"), {})
    own = zip(graph.classes, chosen, strict=True)
    removed = [int(classes[channel]) for classes, channels in own for channel in channels]
    try:
        smaller = rebuild(model, graph, removed)
        gap = float("nan") if proof is None else proof.gap(smaller, chosen)
    except (ValueError, TypeError, UnsupportedModelError) as error:
        return f"the smaller model cannot be made: {' '.join(str(error).split())[:200]}"
    if gap > TOLERANCE:
        return f"the smaller model and the masked one differ by {gap:.1e}"
    return Outcome(smaller, chosen, gap, {})


def _report(
    model: keras.Model,
    smaller: keras.Model,
    graph: ChannelGraph,
    sparsities: Sequence[float],
    cut: Outcome,
) -> RemovalReport:
    rows = []
    for index, (group, sparsity) in enumerate(zip(graph.groups, sparsities, strict=True)):
        if not sparsity:
            continue
        removed = len(cut.removed[index])
        reason = cut.failures.get(index, group.reason)
        if not reason and removed < round(sparsity * group.size):
            reason = "rounded up to the channel multiple of the device"
        rows.append(
            GroupRemoval(
                layers=group.producers,
                channels_before=group.size * group.width,
                channels_after=(group.size - removed) * group.width,
                sparsity=sparsity,
                reason=reason,
            )
        )
    return _totals(model, smaller, tuple(rows), cut.gap)


def _totals(
    model: keras.Model, smaller: keras.Model, rows: tuple[GroupRemoval, ...], gap: float
) -> RemovalReport:
    return RemovalReport(
        groups=rows,
        params_before=model.count_params(),
        params_after=smaller.count_params(),
        macs_before=sum(info.macs for info in describe(model)),
        macs_after=sum(info.macs for info in describe(smaller)),
        gap=gap,
    )


def _all_left(model: keras.Model, wanted: Policy | float | None, reason: str) -> RemovalReport:
    infos = {info.name: info for info in describe(model) if info.compressible}
    if isinstance(wanted, float):
        plans = tuple(LayerPlan(name, sparsity=wanted, pattern=CHANNEL) for name in infos)
    else:
        plans = () if wanted is None else wanted.resolve(tuple(infos.values()))
    rows = tuple(
        GroupRemoval(
            layers=(plan.layer,),
            channels_before=infos[plan.layer].output_shape[-1],
            channels_after=infos[plan.layer].output_shape[-1],
            sparsity=plan.sparsity,
            reason=reason,
        )
        for plan in plans
        if plan.pattern == CHANNEL and plan.sparsity
    )
    return _totals(model, model, rows, float("nan"))
