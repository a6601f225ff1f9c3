"""`channel_groups`: which channels of a model can only be removed together."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy.channels.graph import has_graph
from tf_metacompress.anatomy.channels.ledger import EXTENT, Ledger, Slot
from tf_metacompress.anatomy.channels.walk import walk
from tf_metacompress.anatomy.checks import check_keras_model
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.policy.channel_group import INPUT, ChannelGroup, ChannelMember

_NO_GROUP = -1


@dataclass(frozen=True)
class Cut:
    """A weight or a number of a config, and the class of the channel at each position.

    Attributes:
        path: Path of the layer.
        attribute: Weight attribute or key of the config.
        axis: Axis of the weight, or index into the config's value; −1 for the value itself.
        classes: Class of each position: positions of one class are cut together.
    """

    path: str
    attribute: str
    axis: int
    classes: np.ndarray


@dataclass(frozen=True)
class ChannelGraph:
    """The channels of a model.

    Attributes:
        groups: The groups, in the order in which their first channel is made.
        classes: For each group, the class of each of its channels.
        dead: For each group, whether a channel is zero already wherever it is read; never for a
            group that cannot be cut.
        weights: Every weight along every axis that has channels.
        extents: Every number in the configs that counts channels.
    """

    groups: tuple[ChannelGroup, ...]
    classes: tuple[np.ndarray, ...]
    dead: tuple[np.ndarray, ...]
    weights: tuple[Cut, ...]
    extents: tuple[Cut, ...]


def _producers(ledger: Ledger, classes: np.ndarray, count: int) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(count)]
    for path, labels in ledger.made.items():
        for number in np.unique(classes[labels]):
            found[number].append(path)
    return found


def _reasons(ledger: Ledger, classes: np.ndarray, count: int) -> list[str]:
    found = [""] * count
    for labels, reason in reversed(ledger.pins):
        for number in np.unique(classes[labels]):
            found[number] = reason
    return found


def _group_numbers(
    producers: list[list[str]], reasons: list[str]
) -> tuple[np.ndarray, list[tuple[tuple[str, ...], str]]]:
    """Group of each class: the same producers and the same reason; none without a producer."""
    keys: dict[tuple[tuple[str, ...], str], int] = {}
    numbers = np.full(len(producers), _NO_GROUP)
    for index, (paths, reason) in enumerate(zip(producers, reasons, strict=True)):
        if paths:
            numbers[index] = keys.setdefault((tuple(paths), reason), len(keys))
    return numbers, list(keys)


def _positions(slot_classes: np.ndarray, ranks: Mapping[int, int]) -> tuple[tuple[int, ...], ...]:
    found: list[list[int]] = [[] for _ in ranks]
    for position, number in enumerate(slot_classes.tolist()):
        if number in ranks:
            found[ranks[number]].append(position)
    return tuple(map(tuple, found))


def _group(
    key: tuple[tuple[str, ...], str], slots: list[Slot], classes: np.ndarray, own: np.ndarray
) -> ChannelGroup:
    ranks = {number: rank for rank, number in enumerate(own.tolist())}
    members = tuple(
        ChannelMember(
            layer=slot.path,
            weight=slot.attribute,
            axis=slot.axis,
            positions=_positions(classes[slot.labels], ranks),
            role=slot.role,
            is_kernel=slot.is_kernel,
        )
        for slot in slots
    )
    made = [m for m in members if m.layer in key[0] and m.is_kernel]
    return ChannelGroup(
        size=len(own),
        members=members,
        producers=key[0],
        consumers=tuple(dict.fromkeys(m.layer for m in members if m.role == INPUT)),
        width=max((len(places) for m in made for places in m.positions), default=1),
        reason=key[1],
    )


def read_channels(model: keras.Model) -> ChannelGraph:
    """Follows the channels of a model.

    Args:
        model: A built Sequential or Functional model. It is not changed.

    Returns:
        Groups, and everything that is cut with them.

    Raises:
        UnsupportedModelError: For a model whose graph cannot be read.
    """
    check_keras_model(model)
    if not has_graph(model):
        raise UnsupportedModelError(
            "Channels are followed through Sequential and Functional models. "
            f"Received: model={model.name!r}, type={type(model).__name__}. Build the model from "
            "keras.Input; `remove_channels` does so for a subclassed model where it can."
        )
    ledger = walk(model)
    classes = ledger.classes()
    count = int(classes.max(initial=-1)) + 1
    numbers, keys = _group_numbers(
        _producers(ledger, classes, count), _reasons(ledger, classes, count)
    )
    alive = np.zeros(count, bool)
    for labels in ledger.alive:
        alive[classes[labels]] = True
    slots_of: list[list[Slot]] = [[] for _ in keys]
    for slot in ledger.slots.values():
        for number in np.unique(numbers[classes[slot.labels]]) if slot.role != EXTENT else ():
            if number != _NO_GROUP:
                slots_of[number].append(slot)
    own = tuple(np.flatnonzero(numbers == number) for number in range(len(keys)))
    cuts = {
        is_extent: tuple(
            Cut(slot.path, slot.attribute, slot.axis, classes[slot.labels])
            for slot in ledger.slots.values()
            if (slot.role == EXTENT) == is_extent
        )
        for is_extent in (False, True)
    }
    groups = (_group(key, slots_of[n], classes, own[n]) for n, key in enumerate(keys))
    return ChannelGraph(
        groups=tuple(groups),
        classes=own,
        dead=tuple(~alive[c] & (not key[1]) for c, key in zip(own, keys, strict=True)),
        weights=cuts[False],
        extents=cuts[True],
    )


def channel_groups(model: keras.Model) -> tuple[ChannelGroup, ...]:
    """Lists the channels of a model that can only be removed together.

    Channels are tied by residual additions, products, depthwise and grouped convolutions and by
    layers that are called several times. Those of the model's inputs and outputs cannot go, nor
    those that reach a layer whose treatment of them is not known: such groups say why.

    Args:
        model: A built Sequential or Functional model. It is not changed.

    Returns:
        One group for each set of layers that make channels together, in order of execution.

    Raises:
        UnsupportedModelError: For a model whose graph cannot be read.

    Example:
        >>> parts = [keras.layers.Dense(8, name="a"), keras.layers.Dense(2, name="b")]
        >>> model = keras.Sequential([keras.Input((4,)), *parts])
        >>> [(group.name, group.size, group.removable) for group in channel_groups(model)]
        [('a', 8, True), ('b', 2, False)]
    """
    return read_channels(model).groups
