"""Channels silenced while training and cut out afterwards."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import keras

from tf_metacompress.anatomy import followers, kind_of, trace
from tf_metacompress.anatomy.channels import OUTPUT_REASON, read_channels
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import ChannelGroup, DeviceProfile, LayerPlan
from tf_metacompress.policy import device as device_profile
from tf_metacompress.surgery.functional import as_functional
from tf_metacompress.surgery.proof import Proof
from tf_metacompress.surgery.remove import cut_channels
from tf_metacompress.surgery.selection import CHANNEL, channels_kept, kernel_layers
from tf_metacompress.wrappers import ChannelPruner

_SCORE = "magnitude"
_ANY_COUNT = DeviceProfile(name="any count", weight_bits={"*": (8,)})

Plans = Mapping[str, LayerPlan]


def make_channel_pruners(
    model: keras.Model, plans: Plans, device: str | DeviceProfile | None = None
) -> tuple[tuple[ChannelPruner, ...], dict[str, LayerPlan]]:
    """Turns the plans with `pattern="channel"` into one pruner for each group they touch.

    The largest sparsity of a group's layers counts for all of them, and the scores that the plans
    name are summed over all kernels that make a channel. A layer whose channels cannot be cut keeps
    its plan, a mask of its own, and a warning says why; one that makes an output of the model loses
    nothing.

    Args:
        model: A built Keras 3 model. It is not changed.
        plans: Plan of each compressible layer by path.
        device: Whose channel multiple the counts are rounded up to; None for exact counts.

    Returns:
        The pruners, and the plans with what they do taken out.
    """
    wanted = {
        path: plan
        for path, plan in plans.items()
        if plan.pattern == CHANNEL and plan.sparsity > 0 and plan.threshold is None
    }
    if not wanted:
        return (), dict(plans)
    try:
        groups = read_channels(as_functional(model)).groups
    except UnsupportedModelError as error:
        groups, problems = (), {" ".join(str(error).split())}
    else:
        problems = set()
    profile = _ANY_COUNT if device is None else device_profile(device)
    pruners, settled = [], dict(plans)
    for group in groups:
        touched = [path for path in kernel_layers(group) if path in wanted]
        if not touched:
            continue
        if group.reason:
            problems.add(f"{group.name}: {group.reason}")
        if group.removable or group.reason == OUTPUT_REASON:
            settled.update((path, _without_pruning(wanted[path])) for path in touched)
        sparsity = max(wanted[path].sparsity for path in touched)
        count = group.size - channels_kept(group, sparsity, profile) if group.removable else 0
        if count:
            pruners.append(_pruner(model, group, count))
        elif group.removable:
            problems.add(
                f"{group.name}: {group.size} channels, rounded up to the device's multiple"
            )
    if problems:
        _warn(problems)
    return tuple(pruners), settled


def _without_pruning(plan: LayerPlan) -> LayerPlan:
    """A plan that goes on observing what the score of its group looks at."""
    pattern = "unstructured" if plan.score == _SCORE else plan.pattern
    return dataclasses.replace(plan, sparsity=0.0, pattern=pattern)


def _warn(problems: set[str]) -> None:
    warnings.warn(
        "pattern='channel' is not carried out to the letter. A layer whose channels cannot be cut "
        "has a mask of its own, and one that makes an output of the model keeps them all: "
        f"{'; '.join(sorted(problems))}.",
        stacklevel=4,
    )


def _pruner(model: keras.Model, group: ChannelGroup, num_removed: int) -> ChannelPruner:
    layers = leaf_layers(model)
    paths = {id(layer): path for path, layer in layers.items()}
    norms = followers(trace(model))
    scored = kernel_layers(group)
    kinds = {path: kind_of(layers[path]) for path in scored}
    return ChannelPruner(
        group,
        num_removed,
        kernels={path: dict(kind.kernels) for path, kind in kinds.items() if kind},
        batch_norms={path: paths[id(norms[path])] for path in scored if path in norms},
    )


def remove_silenced(model: keras.Model, pruners: Sequence[ChannelPruner]) -> keras.Model:
    """Cuts the channels out that pruners have set to zero.

    Args:
        model: A model into which the pruners have been baked. It is not changed.
        pruners: What silenced the channels.

    Returns:
        A smaller model that computes the same; `model` itself when nothing was silenced, or when
        the smaller model would not compute the same, which a warning says.
    """
    silenced = {p.group.producers: p.removed for p in pruners if p.removed}
    if not silenced:
        return model
    functional = as_functional(model)
    graph = read_channels(functional)
    chosen = [
        silenced.get(group.producers, ()) if group.removable else () for group in graph.groups
    ]
    cut = cut_channels(functional, graph, chosen, Proof(functional, graph))
    for reason in cut.failures.values():
        warnings.warn(f"Channels are zero but could not be removed: {reason}.", stacklevel=3)
    return cut.model if any(cut.removed) else model
