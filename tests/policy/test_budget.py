"""Budgets and their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
)
from tf_metacompress.policy import RESOURCES, Budget, check_budget

REFERENCE = {"size_bytes": 1000.0, "flash_bytes": 2000.0, "macs": 5000.0}
RATIOS = st.none() | st.floats(1e-6, 1.0)
AMOUNTS = st.none() | st.floats(1e-3, 1e12)
FIELDS = st.fixed_dictionaries(
    {
        "size_ratio": RATIOS,
        "size_bytes": AMOUNTS,
        "flash_bytes": AMOUNTS,
        "macs_ratio": RATIOS,
        "latency_ms": AMOUNTS,
        "accuracy_drop": st.none() | st.floats(0.0, 1.0),
    }
).filter(lambda fields: any(value is not None for value in fields.values()))


@given(FIELDS)
def test_dictionaries_make_equal_budgets(fields):
    budget = Budget(**fields)
    assert Budget.from_dict(budget.to_dict()) == budget


@given(FIELDS)
def test_every_limit_is_the_smallest_that_was_given(fields):
    limits = Budget(**fields).limits(REFERENCE)
    wanted = {
        "size_bytes": [
            fields["size_bytes"],
            fields["size_ratio"] and fields["size_ratio"] * 1000.0,
        ],
        "flash_bytes": [fields["flash_bytes"]],
        "macs": [fields["macs_ratio"] and fields["macs_ratio"] * 5000.0],
        "latency_ms": [fields["latency_ms"]],
    }
    given_limits = {name: [x for x in values if x is not None] for name, values in wanted.items()}
    assert limits == {name: min(values) for name, values in given_limits.items() if values}
    assert tuple(limits) == tuple(name for name in RESOURCES if name in limits)
    assert Budget(**fields).resources == tuple(limits)


def test_accuracy_alone_limits_no_resource():
    assert Budget(accuracy_drop=0.0).limits({}) == {}


@pytest.mark.parametrize(
    ("ratio", "missing"), [("size_ratio", "size_bytes"), ("macs_ratio", "macs")]
)
def test_a_ratio_needs_its_reference(ratio, missing):
    with pytest.raises(InvalidArgumentError, match=missing):
        Budget(**{ratio: 0.5}).limits({"flash_bytes": 1.0})
    with pytest.raises(ArgumentTypeError, match="`reference`"):
        Budget(**{ratio: 0.5}).limits(None)


@pytest.mark.parametrize(
    "fields",
    [
        {"size_ratio": 0.0},
        {"size_ratio": 1.5},
        {"macs_ratio": 2},
        {"size_bytes": -1},
        {"flash_bytes": float("inf")},
        {"latency_ms": float("nan")},
        {"latency_ms": "3"},
        {"accuracy_drop": -0.1},
        {"accuracy_drop": 1.1},
        {"size_bytes": True},
    ],
)
def test_limits_out_of_range_are_refused_by_name(fields):
    (name,) = fields
    with pytest.raises(InvalidArgumentError, match=f"`{name}`"):
        Budget(**fields)


def test_a_budget_limits_something():
    with pytest.raises(InvalidArgumentError, match="at least one limit.*size_ratio"):
        Budget()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size_rato": 0.5}, "unknown key 'size_rato'. Did you mean 'size_ratio'"),
        ({"size_ratio": 3}, "size_ratio=3"),
        ({}, "at least one limit"),
        ([], "must be an object"),
        (None, "must be an object"),
    ],
)
def test_bad_dictionaries_are_refused(values, message):
    with pytest.raises(CorruptFileError, match=message):
        Budget.from_dict(values)


def test_a_policy_needs_a_budget_that_it_can_keep():
    check_budget(Budget(accuracy_drop=0.1, latency_ms=1.0))
    with pytest.raises(InvalidArgumentError, match=r"must limit a size.*Received: budget=Budget"):
        check_budget(Budget(accuracy_drop=0.1))
    with pytest.raises(ArgumentTypeError, match="`budget` must be a Budget"):
        check_budget(0.1)
