"""What the layers of a model are when channels are gone, without making the model."""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Sequence

from tf_metacompress.policy.channel_group import ChannelGroup
from tf_metacompress.policy.layer_info import LayerInfo

Removed = Sequence[Collection[int]]
"""For each channel group, the indices of the channels that are gone."""


def narrowed(
    layer_infos: Sequence[LayerInfo], groups: Sequence[ChannelGroup], removed: Removed
) -> tuple[LayerInfo, ...]:
    """Describes layers as they are after channels are removed.

    Args:
        layer_infos: Layers of a model.
        groups: Channel groups of the model.
        removed: For each group, the indices of the channels that go.

    Returns:
        The same layers with fewer channels; one that was cut has no `stats`, and one without
        kernels keeps its `output_shape`.

    Example:
        >>> from tf_metacompress.policy import ChannelMember, KernelInfo
        >>> kernel = KernelInfo(name="kernel", shape=(8, 4), channel_axis=(1,))
        >>> info = LayerInfo(name="a", kind="Dense", kernels=(kernel,), output_shape=(None, 4))
        >>> places = ((0,), (1,), (2,), (3,))
        >>> member = ChannelMember(
        ...     layer="a", weight="kernel", axis=1, positions=places, role="output"
        ... )
        >>> group = ChannelGroup(size=4, members=(member,), producers=("a",), consumers=())
        >>> narrowed([info], [group], [(0, 3)])[0].weight_shape
        (8, 2)
    """
    gone: dict[str, Counter[tuple[str, int]]] = {}
    for group, channels in zip(groups, removed, strict=True):
        for member in group.members if channels else ():
            count = sum(len(member.positions[channel]) for channel in channels)
            gone.setdefault(member.layer, Counter())[member.weight, member.axis] += count
    return tuple(_cut(info, gone.get(info.name, Counter())) for info in layer_infos)


def _cut(info: LayerInfo, gone: Counter[tuple[str, int]]) -> LayerInfo:
    if not any(gone.values()):
        return info
    kernels = tuple(
        dataclasses.replace(
            kernel,
            shape=tuple(size - gone[kernel.name, axis] for axis, size in enumerate(kernel.shape)),
        )
        for kernel in info.kernels
    )
    names = {kernel.name for kernel in kernels}
    others = sum(count for (weight, _), count in gone.items() if weight not in names)
    before, after = info.num_weights, sum(kernel.size for kernel in kernels)
    return dataclasses.replace(
        info,
        kernels=kernels,
        num_params=info.num_params - (before - after) - others,
        macs=round(info.macs * after / before) if before else info.macs,
        stats=None,
        output_shape=_cut_output(info, kernels),
    )


def _cut_output(info: LayerInfo, kernels: tuple) -> tuple[int | None, ...]:
    if not kernels or not info.output_shape or info.output_shape[-1] is None:
        return info.output_shape
    made = [
        math.prod(kernel.shape[axis] for axis in kernel.channel_axis)
        for kernel in (info.kernels[-1], kernels[-1])
    ]
    return (*info.output_shape[:-1], info.output_shape[-1] * made[1] // made[0])
