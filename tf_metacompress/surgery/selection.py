"""Which channels of a group go: the least of its kernels' energy, counted in device multiples."""

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tf_metacompress.anatomy import describe, followers, gain_array, kind_of, trace
from tf_metacompress.anatomy.channels import ChannelGraph
from tf_metacompress.errors import check_fraction, wrong_type
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.policy import DeviceProfile, Policy, Rule
from tf_metacompress.policy.channel_group import OUTPUT, ChannelGroup

CHANNEL = "channel"
Sparsities = Policy | Mapping[str, float] | float


def as_policy(sparsities: Sparsities) -> Policy | float:
    """Reads what a user asks for.

    Args:
        sparsities: A policy, of which the rules with `pattern="channel"` count; fractions by layer
            name or pattern; or one fraction for all groups.

    Returns:
        A policy or a fraction.

    Raises:
        InvalidArgumentError: If a fraction is outside [0, 1).
        ArgumentTypeError: If it is none of these.
    """
    if isinstance(sparsities, Policy):
        return sparsities
    if isinstance(sparsities, Mapping):
        return Policy(
            [Rule(name, sparsity=value, pattern=CHANNEL) for name, value in sparsities.items()]
        )
    if isinstance(sparsities, (int, float)) and not isinstance(sparsities, bool):
        return check_fraction("policy", sparsities)
    raise wrong_type(
        "`policy` must be a Policy, a mapping of layer names to fractions, or a fraction.",
        policy=sparsities,
    )


def kernel_layers(group: ChannelGroup) -> tuple[str, ...]:
    """The layers whose kernels make the channels of a group, depthwise ones among them."""
    makes = (m.layer for m in group.members if m.is_kernel and m.role == OUTPUT)
    return tuple(dict.fromkeys(makes))


def group_sparsities(
    model: keras.Model, groups: Sequence[ChannelGroup], policy: Policy | float
) -> list[float]:
    """Finds the fraction of each group's channels that a policy wants removed.

    Where the layers of a group are given different fractions, the largest counts.

    Args:
        model: The model.
        groups: Its channel groups.
        policy: What the user wants; layers with another pattern do not count.

    Returns:
        One fraction a group.
    """
    if isinstance(policy, float):
        return [policy] * len(groups)
    plans = {plan.layer: plan for plan in policy.resolve(describe(model))}
    wanted = {path: p.sparsity for path, p in plans.items() if p.pattern == CHANNEL}
    return [
        max((wanted.get(layer, 0.0) for layer in kernel_layers(group)), default=0.0)
        for group in groups
    ]


def channels_kept(group: ChannelGroup, sparsity: float, device: DeviceProfile) -> int:
    """Counts the channels of a group that stay.

    Args:
        group: The group.
        sparsity: Fraction to remove.
        device: Gives the multiple that counts are rounded up to.

    Returns:
        At least one multiple, at most the group's size.
    """
    wanted = max(group.size - round(sparsity * group.size), 1)
    multiple = device.channel_multiple // math.gcd(device.channel_multiple, group.width)
    return min(-(-wanted // multiple) * multiple, group.size)


def folded_energy(model: keras.Model) -> dict[tuple[str, str], np.ndarray]:
    """Squares of all kernels, as deployed: multiplied by the BatchNormalization behind them.

    Args:
        model: A built model.

    Returns:
        (path, weight attribute) to an array of the kernel's shape.
    """
    batch_norms = followers(trace(model))
    energy = {}
    for path, layer in leaf_layers(model).items():
        kind = kind_of(layer)
        for name, axes in kind.kernels.items() if kind else ():
            kernel = np.asarray(weight_of(layer, name), np.float64)
            if path in batch_norms and name == list(kind.kernels)[-1]:
                kernel = kernel * gain_array(batch_norms[path], kernel.shape, axes)
            energy[path, name] = kernel**2
    return energy


def group_scores(group: ChannelGroup, energy: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Scores the channels of a group jointly.

    Args:
        group: The group.
        energy: What `folded_energy` gave.

    Returns:
        For each channel the sum of the squared norms of its slices of all kernels that make it.
    """
    scores = np.zeros(group.size)
    for member in group.members:
        squares = energy.get((member.layer, member.weight))
        if not member.is_kernel or member.role != OUTPUT or squares is None:
            continue
        sums = np.moveaxis(squares, member.axis, 0).reshape(squares.shape[member.axis], -1).sum(1)
        scores += [sums[list(places)].sum() for places in member.positions]
    return scores


def choose_by_score(
    model: keras.Model, graph: ChannelGraph, sparsities: Sequence[float], device: DeviceProfile
) -> list[tuple[int, ...]]:
    """Chooses the channels with the least energy.

    Args:
        model: The model.
        graph: Its channels.
        sparsities: Fraction wanted of each group.
        device: Gives the multiple.

    Returns:
        For each group the indices of the channels that go.
    """
    energy = folded_energy(model)
    chosen = []
    for group, sparsity in zip(graph.groups, sparsities, strict=True):
        count = group.size - channels_kept(group, sparsity, device) if group.removable else 0
        order = np.argsort(group_scores(group, energy), kind="stable")
        chosen.append(tuple(sorted(order[:count].tolist())))
    return chosen


def choose_dead(graph: ChannelGraph, device: DeviceProfile) -> list[tuple[int, ...]]:
    """Chooses channels that are zero already wherever they are read.

    Args:
        graph: The channels of a model.
        device: Gives the multiple that counts are rounded up to.

    Returns:
        For each group the indices of the channels that go.
    """
    chosen = []
    for group, dead in zip(graph.groups, graph.dead, strict=True):
        count = 0
        if group.removable:
            count = group.size - channels_kept(group, float(dead.mean()), device)
        chosen.append(tuple(np.flatnonzero(dead)[:count].tolist()))
    return chosen
