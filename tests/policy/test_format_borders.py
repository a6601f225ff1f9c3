"""Borders between float32 and integers against every choice there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.layers import layer, random_kernels
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import (
    Action,
    Budget,
    DeviceProfile,
    LatencyTable,
    allocate_formats,
    cost_table,
    layer_key,
)
from tf_metacompress.policy.format_borders import fastest_formats, num_borders

INT8, FLOAT = Action(weight_bits=8), Action(weight_bits=32)
EITHER = DeviceProfile(name="either", weight_bits={"*": (8, 32)}, activation_bits=(8, 32))
INFOS = [layer(f"l{i}", shape=(4, i + 2), output_shape=(None, i + 2)) for i in range(5)]
latencies = st.lists(
    st.tuples(st.floats(0.1, 9.0), st.floats(0.1, 9.0)), min_size=len(INFOS), max_size=len(INFOS)
)


def changes(floats):
    """Counted by hand: how often a pen that writes F and I is changed, F before and behind."""
    word = "F" + "".join("F" if one else "I" for one in floats) + "F"
    return word.count("FI") + word.count("IF")


def total(rows, floats, border_ms):
    return sum(row[one] for row, one in zip(rows, floats, strict=True)) + border_ms * changes(
        floats
    )


def every_format():
    return itertools.product((False, True), repeat=len(INFOS))


def made_up(rows, border_ms, overhead_ms=0.5):
    entries = {}
    for info, (integer_ms, float_ms) in zip(INFOS, rows, strict=True):
        entries |= {(layer_key(info), INT8): integer_ms, (layer_key(info), FLOAT): float_ms}
    given = {"device": "d", "runtime": "r", "overhead_ms": overhead_ms, "border_ms": border_ms}
    return LatencyTable(entries, **given)


@given(rows=latencies, border_ms=st.floats(0.0, 4.0))
@settings(max_examples=40, deadline=None)
def test_the_fastest_formats_are_those_of_a_full_search(rows, border_ms):
    found_ms, floats = fastest_formats(rows, border_ms)
    assert found_ms == pytest.approx(min(total(rows, f, border_ms) for f in every_format()))
    assert found_ms == pytest.approx(total(rows, floats, border_ms))


def test_a_layer_that_cannot_be_integer_stays_in_float32():
    rows = [(1.0, 5.0), (np.inf, 5.0), (1.0, 5.0)]
    assert fastest_formats(rows, 0.5) == (9.0, (False, True, False))
    assert fastest_formats([], 0.5) == (0.0, ())


@given(rows=latencies, border_ms=st.floats(0.0, 4.0))
@settings(max_examples=20, deadline=None)
def test_a_model_costs_its_layers_its_borders_and_the_overhead(rows, border_ms):
    table = made_up(rows, border_ms)
    costs = costs_of(table)
    for floats in every_format():
        actions = [FLOAT if one else INT8 for one in floats]
        expected = pytest.approx(total(rows, floats, border_ms) + 0.5)
        assert num_borders(floats) == changes(floats)
        assert table.model_ms(INFOS, actions) == expected
        assert costs.total([int(one) for one in floats])["latency_ms"] == expected


def costs_of(table):
    given = {"latency": table, "resources": ["macs", "latency_ms"]}
    return cost_table(INFOS, random_kernels(INFOS), device=EITHER, actions=[INT8, FLOAT], **given)


@given(rows=latencies, border_ms=st.floats(0.01, 4.0), share=st.floats(0.3, 1.2))
@settings(max_examples=40, deadline=None)
def test_a_choice_is_found_wherever_there_is_one_and_its_borders_fit(rows, border_ms, share):
    table = costs_of(made_up(rows, border_ms))
    damage = np.array([[float(i + 1), 0.0] for i in range(len(INFOS))])
    limit_ms = share * (total(rows, [False] * len(INFOS), border_ms) + 0.5)
    limits = table.limits(Budget(latency_ms=limit_ms))
    reached = {f: total(rows, f, border_ms) + 0.5 for f in every_format()}
    if min(reached.values()) > limit_ms:
        with pytest.raises(InfeasibleBudgetError) as caught:
            allocate_formats(damage, table, limits)
        assert caught.value.smallest["latency_ms"] == pytest.approx(min(reached.values()))
        return
    found = allocate_formats(damage, table, limits)
    floats = tuple(bool(index) for index in found.choice)
    assert found.cost[1] == pytest.approx(reached[floats])
    assert found.cost[1] <= limit_ms * (1 + 1e-6)
    least = min(damage[~np.array(f), 0].sum() for f, ms in reached.items() if ms <= limit_ms)
    assert found.damage == damage[~np.array(floats), 0].sum() >= least


def test_borders_without_a_price_leave_the_choice_exact():
    rows = [(1.0, 2.0)] * len(INFOS)
    table = costs_of(made_up(rows, 0.0))
    damage = np.array([[1.0, 0.0]] * len(INFOS))
    found = allocate_formats(damage, table, table.limits(Budget(latency_ms=7.5)))
    assert (found.damage, found.cost[1]) == (3.0, 7.5)
