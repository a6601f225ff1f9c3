"""Tasks and the data they hold."""

import dataclasses

import numpy as np
import pytest

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Budget, device
from tf_metacompress.tasks import Task, check_arrays

X, Y = np.zeros((6, 8, 8, 1), np.float32), np.arange(6) % 3
BUDGET = Budget(size_ratio=0.1)


def model(inputs):
    return inputs


def task(**fields):
    return Task(**{"model": model, "budget": BUDGET, "support": (X, Y), **fields})


def test_fields_in_their_order():
    made = Task(model, BUDGET, "cortex-m", support=(X, Y), query=(X[:2], Y[:2]), name="t")
    assert made.device == "cortex-m"
    assert made.resolved_query[1].tolist() == [0, 1]
    assert task().device == "android-arm64"
    assert task(device=device("cortex-m")).device.name == "cortex-m"


def test_the_support_set_stands_in_for_the_query_set():
    made = task()
    assert made.resolved_query is made.support


def test_arrays_are_not_copied_and_lists_become_arrays():
    assert task().support[0] is X
    made = task(support=[[[0.0], [1.0]], [0, 1]])
    assert made.support[0].shape == (2, 1)


def test_a_task_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        task().name = "other"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "`model`"),
        ({"budget": 0.1}, "`budget` must be a Budget"),
        ({"device": None}, "`device`"),
        ({"support": X}, "`support` must be a pair"),
        ({"support": (X, Y, Y)}, "`support` must be a pair"),
        ({"query": (X,)}, "`query` must be a pair"),
    ],
)
def test_wrong_types_are_refused(fields, message):
    with pytest.raises(ArgumentTypeError, match=message):
        task(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": (X[:, :4], Y)}, "inputs of support and query"),
        ({"query": (X, np.eye(3)[Y])}, "labels of support and query"),
        ({"query": (X[:0], Y[:0])}, "query inputs must not be empty"),
    ],
)
def test_sets_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        task(**fields)


NAN = np.where(np.arange(6) == 3, np.nan, 0.0)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], "inputs must not be empty"),
        (X, Y[:0], "labels must not be empty"),
        (X, Y[:5], "one label per input.*inputs=6, labels=5"),
        (NAN, Y, "inputs must be finite"),
        (X, NAN, "labels must be finite"),
        (X, Y - 1, "not be negative.*smallest=-1"),
        (X, list("abcdef"), "labels must be an array of numbers"),
        (None, Y, "inputs must be an array of numbers"),
        (3.0, Y, "inputs must have an axis of examples"),
        ([[1], [1, 2]], Y, "inputs must form one array"),
    ],
)
def test_bad_arrays_are_refused_by_name(x, y, message):
    with pytest.raises(InvalidArgumentError, match=f"digits.*{message}|{message}"):
        check_arrays("digits", x, y)


def test_regression_targets_may_be_negative():
    check_arrays("digits", X, Y - 2.5)
    check_arrays("digits", X, np.stack([Y - 1, Y], axis=1))
