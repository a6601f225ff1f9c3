"""Splits of classes do not leak."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassArrays, NWayKShot, RotatedClasses, split_classes


def make_source(num_groups, per_group, turned):
    """Every image tells its base class by its sum, however it is turned."""
    names = [f"{g}/{c}" for g in "ABCDEFGH"[:num_groups] for c in range(per_group)]
    y = np.repeat(np.arange(len(names)), 3)
    x = np.zeros((len(y), 2, 2, 1), np.float32)
    x[:, 0, 0, 0] = y + 1
    source = ClassArrays(x, y, names)
    return RotatedClasses(source) if turned else source


def alphabet(name):
    return name.split("/")[0]


def bases(source):
    """The base class of each class, read from the images."""
    return {source.examples(name, np.array([0])).sum() for name in source.classes}


@given(
    num_groups=st.integers(2, 8),
    per_group=st.integers(1, 4),
    turned=st.booleans(),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
    # A careless grouping by the whole name would set turns of a class apart.
    group_of=st.sampled_from([None, alphabet, str, hash]),
)
@settings(max_examples=25, deadline=None)
def test_no_class_and_no_turn_of_it_is_in_both_parts(
    num_groups, per_group, turned, fraction, seed, group_of
):
    source = make_source(num_groups, per_group, turned)
    groups = num_groups if group_of is alphabet else num_groups * per_group
    assume(0 < round(fraction * groups) < groups)
    train, test = split_classes(source, test_fraction=fraction, seed=seed, group_of=group_of)
    assert set(train.classes) | set(test.classes) == set(source.classes)
    assert len(train.classes) + len(test.classes) == len(source.classes)
    assert not bases(train) & bases(test)
    if group_of is alphabet:
        test_groups = {alphabet(name) for name in test.classes}
        assert not {alphabet(name) for name in train.classes} & test_groups
        assert len(test_groups) == round(fraction * num_groups)


def test_named_groups_are_tested_on_and_order_is_kept():
    train, test = split_classes(make_source(4, 2, False), test_groups={"D", "B"}, group_of=alphabet)
    assert train.classes == ("A/0", "A/1", "C/0", "C/1")
    assert test.classes == ("B/0", "B/1", "D/0", "D/1")


def test_tasks_of_the_two_parts_share_no_image():
    train, test = split_classes(make_source(4, 3, True), test_groups=("A", "C"), group_of=alphabet)
    seen = []
    for part in (train, test):
        sampler = NWayKShot(part, 5, 1, 2)
        tasks = [sampler(index) for index in range(30)]
        seen.append({x.sum() for task in tasks for x in (*task.support[0], *task.query[0])})
    assert len(seen[0]) == len(seen[1]) == 6
    assert not seen[0] & seen[1]


def test_the_seed_decides_the_draw():
    source = make_source(8, 1, False)
    drawn = [split_classes(source, test_fraction=0.5, seed=s)[1].classes for s in range(8)]
    assert drawn[0] == split_classes(source, test_fraction=0.5, seed=0)[1].classes
    assert len(set(drawn)) > 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either `test_groups` or `test_fraction`"),
        ({"test_groups": ["A"], "test_fraction": 0.5}, "either `test_groups` or `test_fraction`"),
        ({"test_fraction": 1.5}, "`test_fraction` must be a fraction"),
        ({"test_fraction": 0.1}, "Both parts.*groups=3, groups_to_test_on=0"),
        ({"test_groups": ["A", "B", "C"]}, "Both parts.*groups_to_test_on=3"),
        ({"test_groups": ["Z"]}, "must be one of the 3.*group='Z'"),
        ({"test_fraction": 0.4, "seed": -1}, "`seed`"),
    ],
)
def test_splits_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        split_classes(make_source(3, 2, True), group_of=alphabet, **arguments)


def test_wrong_types_are_refused():
    with pytest.raises(ArgumentTypeError, match="`group_of`"):
        split_classes(make_source(2, 2, False), test_fraction=0.5, group_of="A")
    with pytest.raises(ArgumentTypeError, match="`source`"):
        split_classes([1, 2], test_fraction=0.5)
