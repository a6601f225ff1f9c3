"""Few-shot tasks and stacks of them."""

import dataclasses

import numpy as np
import pytest

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import FewShotTask, stack

X = np.random.default_rng(0).random((10, 3, 2)).astype(np.float32)
Y = np.arange(10) % 2


def make(support=slice(0, 4), query=slice(4, 10), **fields):
    given = {"support": (X[support], Y[support]), "query": (X[query], Y[query])}
    return FewShotTask(**{**given, **fields})


def test_arrays_are_kept_and_fields_frozen():
    task = make(support=slice(0, 4), classes=["cat", "dog"])
    assert np.shares_memory(task.support[0], X)
    assert task.classes == ("cat", "dog")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.classes = ()


def make_pair(**fields):
    return FewShotTask(**{"support": (X[:4], Y[:4]), "query": (X[4:], Y[4:]), **fields})


NAN = np.where(np.arange(4)[:, None, None] == 2, np.nan, X[:4])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"support": (X[:0], Y[:0])}, "support inputs must not be empty"),
        ({"query": (X[:0], Y[:0])}, "query inputs must not be empty"),
        ({"support": (X[:4], Y[:3])}, "support set must have one label per input"),
        ({"support": (NAN, Y[:4])}, "support inputs must be finite"),
        ({"query": (X[4:, :2], Y[4:])}, "inputs of support and query must have the same shape"),
        ({"query": (X[4:], np.eye(2)[Y[4:]])}, "labels of support and query"),
        ({"classes": ("cat",)}, "label of the support set must have a class.*labels=2"),
        ({"rows": (np.arange(4), np.arange(5))}, "`rows` must identify each.*examples=6"),
        (
            {"rows": (np.arange(4), np.arange(6) + 3)},
            "share an example.*support_row=3, query_row=0",
        ),
        ({"query": (X[[5, 1]], Y[[5, 1]])}, "share an example.*support_row=1, query_row=1"),
    ],
)
def test_data_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make_pair(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"support": X}, "`support` must be a pair"),
        ({"classes": "cat"}, "`classes` must be names"),
        ({"classes": (0, 1)}, "`classes` must be names"),
        ({"rows": np.arange(3)}, "`rows` must be a pair"),
    ],
)
def test_wrong_types_are_refused(fields, message):
    with pytest.raises(ArgumentTypeError, match=message):
        make_pair(**fields)


def test_one_hot_labels_need_as_many_classes_as_columns():
    one_hot = np.eye(3)[Y]
    halves = {"support": (X[:4], one_hot[:4]), "query": (X[4:], one_hot[4:])}
    assert make_pair(**halves, classes=("a", "b", "c")).classes == ("a", "b", "c")
    with pytest.raises(InvalidArgumentError, match="labels=3"):
        make_pair(**halves, classes=("a", "b"))


def test_rows_and_not_inputs_decide_when_they_are_given():
    same = np.concatenate([X[:1]] * 4)
    make_pair(support=(same, Y[:4]), query=(same, Y[:4]), rows=(np.arange(4), np.arange(4) + 4))
    pairs = np.array([[0, 1], [1, 0], [0, 2], [1, 1]])
    with pytest.raises(InvalidArgumentError, match="support_row=1, query_row=0"):
        make_pair(query=(X[4:5], Y[4:5]), rows=(pairs, np.array([[1, 0]])))


def test_overlap_is_seen_through_different_number_types():
    with pytest.raises(InvalidArgumentError, match="share an example"):
        make_pair(query=(X[:2].astype(np.float64), Y[:2]))


def test_a_stack_has_the_tasks_in_order():
    tasks = [make(), make(slice(6, 10), slice(0, 6))]
    support_x, support_y, query_x, query_y = stack(tasks)
    assert (support_x.shape, query_x.shape) == ((2, 4, 3, 2), (2, 6, 3, 2))
    for position, task in enumerate(tasks):
        np.testing.assert_array_equal(support_x[position], task.support[0])
        np.testing.assert_array_equal(support_y[position], task.support[1])
        np.testing.assert_array_equal(query_x[position], task.query[0])
        np.testing.assert_array_equal(query_y[position], task.query[1])


def test_a_stack_names_the_task_that_does_not_fit():
    with pytest.raises(InvalidArgumentError, match="Task 2 must have the shapes"):
        stack([make(), make(), make(query=slice(4, 9)), make()])
    other_type = make_pair(query=(X[4:], Y[4:].astype(np.int32)))
    with pytest.raises(InvalidArgumentError, match="Task 1 must have.*int32"):
        stack([make(), other_type])
    with pytest.raises(InvalidArgumentError, match="At least one task"):
        stack([])
    with pytest.raises(ArgumentTypeError, match="FewShotTasks.*ndarray"):
        stack([X])
