"""The tasks of one trained model: what it may cost, and on which device."""

from collections.abc import Iterator

import keras
import numpy as np

from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.meta.problem import DEFAULT_ACTIONS
from tf_metacompress.pipeline.zoo.recipes import Entry, Shares
from tf_metacompress.pipeline.zoo.split import LARGEST_RATIO, META_TEST_RATIOS, draw_ratio
from tf_metacompress.policy import (
    DEVICES,
    Budget,
    DeviceProfile,
    cost_table,
    device,
)
from tf_metacompress.tasks import Task

_ROOM = 1.25
"""Least that a budget to train on is, as a multiple of what can be reached."""
_MOST_DRAWS = 8
_RANDOM_DEVICES = 0.4
_KINDS = ("Dense", "Conv2D", "DepthwiseConv2D", "Conv1D")
LOSS = "sparse_categorical_crossentropy"


def random_device(generator: np.random.Generator) -> DeviceProfile:
    """Draws a device that runs 4 and 8 bits on some kinds of layers and one of them on others.

    Args:
        generator: Where it is drawn from.

    Returns:
        A profile; where zeros do not pay, some layers can choose between widths.
    """
    pays = bool(generator.random() < 0.8)
    bits = {"*": ((4, 8), (8,), (4,))[generator.choice(3, p=(0.5, 0.35, 0.15))]}
    for kind in _KINDS:
        if generator.random() < 0.35:
            bits[kind] = ((4, 8), (8,), (4,))[generator.integers(3)]
    if not pays:
        bits["*"], bits["Dense"] = (4, 8), (4, 8)
    return DeviceProfile(
        name=f"random-{int(generator.integers(10**6)):06d}",
        weight_bits=bits,
        channel_multiple=int(generator.choice([1, 4, 8, 16])),
        sparsity_pays={"size_bytes": pays, "flash_bytes": pays and generator.random() < 0.3},
        description="Drawn at random, to learn to read devices from.",
    )


class Reach:
    """How small a model can become on each device, all actions of Φ allowed.

    Args:
        model: A built model; it is read once.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers, self._kernels = describe(model), kernel_arrays(model)
        self._known: dict[str, float] = {}

    def __call__(self, profile: DeviceProfile) -> float:
        """Gives the gzip bytes of the smallest choice as a share of float32's."""
        if profile.name not in self._known:
            table = cost_table(self._layers, self._kernels, device=profile, actions=DEFAULT_ACTIONS)
            least = np.where(table.mask[:, :, None], table.cost, np.inf).min(axis=1).sum()
            whole = table.reference["size_bytes"]
            self._known[profile.name] = float((least + table.fixed[0]) / whole)
        return self._known[profile.name]


def draw_tasks(entry: Entry, model: keras.Model, given: Shares, count: int) -> list[Task]:
    """Makes the tasks of one model.

    Of a meta-train model: a random ratio each, on the built-in devices and on random ones. Of a
    meta-test model: each of `META_TEST_RATIOS` on each built-in device. Where the model cannot
    become that small, the ratio to train on is drawn above what it can, and the one to judge on is
    left out.

    Args:
        entry: What the model is.
        model: The trained model.
        given: Its examples.
        count: Tasks of a meta-train model; fewer when hardly any budget leaves a choice.

    Returns:
        The tasks.
    """
    drawn = _to_train(entry, model, count) if entry.split == "train" else _to_judge(model)
    return [
        Task(
            model,
            Budget(size_ratio=ratio),
            profile,
            support=given.support,
            query=given.query,
            loss=LOSS,
            name=f"{entry.name}, {profile.name}, {ratio:.1%}",
        )
        for profile, ratio in drawn
    ]


def _to_train(
    entry: Entry, model: keras.Model, count: int
) -> Iterator[tuple[DeviceProfile, float]]:
    generator = np.random.default_rng([entry.seed, count])
    reach, found = Reach(model), 0
    for _ in range(_MOST_DRAWS * count):
        profile = _draw_device(generator)
        smallest = _ROOM * reach(profile)
        if smallest < LARGEST_RATIO:
            found += 1
            yield profile, draw_ratio(generator, smallest)
        if found == count:
            return


def _draw_device(generator: np.random.Generator) -> DeviceProfile:
    if generator.random() < _RANDOM_DEVICES:
        return random_device(generator)
    return device(str(generator.choice(list(DEVICES))))


def _to_judge(model: keras.Model) -> Iterator[tuple[DeviceProfile, float]]:
    reach = Reach(model)
    for profile in DEVICES.values():
        smallest = reach(profile)
        yield from ((profile, ratio) for ratio in META_TEST_RATIOS if ratio >= smallest)
