"""Layers described without channels, against the model that really lacks them."""

import dataclasses

import pytest

from tests.channel_models import ANY_COUNT, ARCHITECTURES
from tf_metacompress.anatomy import describe
from tf_metacompress.anatomy.channels import read_channels
from tf_metacompress.policy import narrowed
from tf_metacompress.surgery.remove import cut_channels
from tf_metacompress.surgery.selection import choose_by_score

FAST = ("plain",)


def cases():
    marks = {name: () if name in FAST else (pytest.mark.slow,) for name in ARCHITECTURES}
    return [pytest.param(name, marks=marks[name]) for name in ARCHITECTURES]


@pytest.mark.parametrize("name", cases())
def test_described_as_the_smaller_model_is(name):
    model = ARCHITECTURES[name]()
    graph = read_channels(model)
    chosen = choose_by_score(model, graph, [0.5] * len(graph.groups), ANY_COUNT)
    cut = cut_channels(model, graph, chosen, None)
    found = narrowed(describe(model), graph.groups, cut.removed)
    for info, expected in zip(found, describe(cut.model), strict=True):
        if info.compressible:
            assert dataclasses.replace(info, stats=None) == dataclasses.replace(
                expected, stats=None
            )


def test_nothing_removed_changes_nothing():
    model = ARCHITECTURES["plain"]()
    groups = read_channels(model).groups
    infos = describe(model)
    assert narrowed(infos, groups, [()] * len(groups)) == infos
