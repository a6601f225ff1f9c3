"""Widths by NetAdapt's steps against every choice there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.layers import layer
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import ChannelGroup, ChannelMember, narrowed
from tf_metacompress.policy.width_search import WidthOptions, WidthSearch

SIZE = 8
COUNTS = (0, 2, 4, 6)


def chain():
    """Three layers; the channels of the first two can go."""
    names = ("a", "b", "c")
    infos = [layer(name, shape=(SIZE, SIZE), output_shape=(None, SIZE)) for name in names]
    places = tuple((i,) for i in range(SIZE))

    def member(name, axis, role):
        fields = {"weight": "kernel", "axis": axis, "positions": places, "role": role}
        return ChannelMember(layer=name, is_kernel=True, **fields)

    groups = [
        ChannelGroup(
            size=SIZE,
            members=(member(one, 1, "output"), member(other, 0, "input")),
            producers=(one,),
            consumers=(other,),
        )
        for one, other in itertools.pairwise(names)
    ]
    return infos, groups


def search(damages, latency_of, **beside):
    infos, groups = chain()
    removed = tuple(tuple(range(count)) for count in COUNTS)
    options = [
        WidthOptions(group=group, removed=removed, damage=tuple(damage))
        for group, damage in zip(groups, damages, strict=True)
    ]
    return WidthSearch(infos, options, lambda info: both(latency_of(info)), **beside)


def both(latency_ms):
    """In integers and float32; one number is for both."""
    return latency_ms if isinstance(latency_ms, tuple) else (latency_ms, latency_ms)


def macs(info):
    return float(np.prod(info.weight_shape))


def every_choice():
    return itertools.product(range(len(COUNTS)), repeat=2)


def test_latency_is_that_of_the_narrowed_layers():
    found = search([[0, 1, 2, 3]] * 2, macs, overhead_ms=5.0)
    infos, groups = chain()
    for choice in every_choice():
        removed = [range(COUNTS[option]) for option in choice]
        expected = 5.0 + sum(map(macs, narrowed(infos, groups, removed)))
        assert found.latency_ms(choice) == expected
    assert found.latency_ms((3, 3)) == 5.0 + 8 * 2 + 2 * 2 + 2 * 8


@given(steps=st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6), share=st.floats(0.2, 1.2))
@settings(max_examples=25, deadline=None)
def test_a_choice_meets_the_limit_and_nothing_can_be_given_back(steps, share):
    damages = np.hstack([np.zeros((2, 1)), np.cumsum(np.reshape(steps, (2, 3)), axis=1)])
    found, limit = search(damages, macs), share * 3 * SIZE**2
    reachable = [c for c in every_choice() if found.latency_ms(c) <= limit]
    if not reachable:
        with pytest.raises(InfeasibleBudgetError) as caught:
            found.choose(limit)
        assert caught.value.smallest == {"latency_ms": min(map(found.latency_ms, every_choice()))}
        return
    choice = found.choose(limit)
    assert choice in reachable
    wider = [c for c in reachable if c != choice and all(np.less_equal(c, choice))]
    assert not any(sum(np.not_equal(c, choice)) == 1 for c in wider)
    damage = [sum(damages[row, option] for row, option in enumerate(c)) for c in reachable]
    chosen = sum(damages[row, option] for row, option in enumerate(choice))
    assert chosen <= 2.0 * min(damage) + 1e-9 or min(damage) < 0.5 * max(steps)


def test_of_equal_savings_the_less_harmful_is_taken():
    found = search([[0, 9, 18, 27], [0, 1, 2, 3]], macs)
    first, second = found.choose(0.7 * 3 * SIZE**2)
    assert second > first


def test_steps_that_only_together_save_are_taken_together():
    def in_blocks(info):
        return 1.0 if info.weight_shape == (2, 2) else 2.0

    found = search([[0, 1, 2, 3]] * 2, in_blocks)
    assert found.choose(5.0) == (3, 3)


def test_borders_count_where_integers_and_float32_meet():
    middle = (SIZE - 2, SIZE)

    def one_in_float(info):
        return (4.0, 1.0) if info.weight_shape == middle else (1.0, 4.0)

    found = search([[0, 1, 2, 3]] * 2, one_in_float, border_ms=0.5)
    assert found.latency_ms((0, 0)) == 3.0 + 2 * 0.5
    assert found.latency_ms((1, 0)) == 3.0 + 4 * 0.5
    assert search([[0, 1, 2, 3]] * 2, one_in_float, border_ms=2.0).latency_ms((1, 0)) == 9.0


def test_an_unreachable_latency_names_the_smallest():
    found = search([[0, 1, 2, 3]] * 2, macs, overhead_ms=10.0)
    with pytest.raises(InfeasibleBudgetError, match="smallest latency_ms is 46.*latency_ms=20"):
        found.choose(20.0)
