"""Nothing that Φ is judged on is seen while it learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.pipeline import Dataset
from tf_metacompress.pipeline.zoo import (
    FAMILIES,
    META_TEST_FAMILIES,
    META_TEST_RATIOS,
    META_TEST_SOURCES,
    META_TRAIN_FAMILIES,
)
from tf_metacompress.pipeline.zoo.recipes import plan_entries
from tf_metacompress.pipeline.zoo.split import draw_ratio, families_of, split_of_source

NAMES = ("digits", "mnist", "cifar10", "basic_motions", "fashion_mnist", "mine")


def data(name):
    shape = (4, 10, 3) if name == "basic_motions" else (4, 8, 8, 1)
    half = np.zeros(shape, "float32"), np.array([0, 1, 0, 1])
    return Dataset(name, half, half)


def test_families_are_in_one_split_each():
    assert set(META_TRAIN_FAMILIES).isdisjoint(META_TEST_FAMILIES)
    assert {*META_TRAIN_FAMILIES, *META_TEST_FAMILIES} == set(FAMILIES)
    assert families_of("test") == META_TEST_FAMILIES == ("inverted", "squeeze_excite")
    assert META_TEST_SOURCES == ("fashion_mnist",)
    assert META_TEST_RATIOS == (0.25, 0.10, 0.05, 0.03)


@settings(max_examples=25, deadline=None)
@given(
    names=st.sets(st.sampled_from(NAMES), min_size=1),
    count=st.integers(1, 40),
    seed=st.integers(0, 2**31),
    sharing=st.integers(1, 4),
)
def test_no_entry_to_train_on_is_of_the_other_split(names, count, seed, sharing):
    sources = {name: data(name) for name in names}
    for split, families in (("train", META_TRAIN_FAMILIES), ("test", META_TEST_FAMILIES)):
        if not any(split_of_source(name) == split for name in names):
            with pytest.raises(InvalidArgumentError, match="no data of the"):
                plan_entries(split, count, sources, seed, sharing)
            continue
        entries = plan_entries(split, count, sources, seed, sharing)
        assert len({entry.name for entry in entries}) == count
        assert {entry.family for entry in entries} <= set(families)
        assert all((entry.source in META_TEST_SOURCES) == (split == "test") for entry in entries)
        assert entries[: count // 2] == plan_entries(split, count // 2, sources, seed, sharing)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), smallest=st.floats(1e-4, 0.499))
def test_ratios_to_train_on_are_away_from_those_to_judge_on(seed, smallest):
    generator = np.random.default_rng(seed)
    for _ in range(20):
        ratio = draw_ratio(generator, smallest)
        assert max(smallest, 0.02) * (1 - 1e-12) <= ratio <= 0.5
        for other in META_TEST_RATIOS:
            assert abs(ratio / other - 1.0) > 0.02


@pytest.mark.parametrize(("smallest", "low", "high"), [(0.005, 0.02, 0.06), (0.3, 0.3, 0.5)])
def test_ratios_are_log_uniform_up_to_three_times_the_smallest(smallest, low, high):
    generator = np.random.default_rng(0)
    drawn = np.log([draw_ratio(generator, smallest) for _ in range(4000)])
    uniform = (np.log(low), np.log(high))
    assert uniform[0] <= drawn.min() and drawn.max() <= uniform[1]
    assert abs(np.median(drawn) - np.mean(uniform)) < 0.05
    assert np.histogram(drawn, bins=4, range=uniform)[0].min() > 0.8 * 1000


def test_models_that_share_an_architecture_differ_in_their_data():
    served = [family for family in META_TRAIN_FAMILIES if family != "conv1d"]
    entries = plan_entries("train", 4 * len(served), {"digits": data("digits")}, 0, 2)
    groups = {}
    for entry in entries:
        groups.setdefault(entry.architecture, []).append(entry)
    assert {len(group) for group in groups.values()} == {2}
    for first, second in groups.values():
        assert (first.family, first.source) == (second.family, second.source)
        assert first.variant != second.variant
