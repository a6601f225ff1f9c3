"""Tasks made of one data set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassSubset, Contrast, Noise, VariantTasks

# Each image holds its own row.
Y = np.random.default_rng(0).permutation(np.repeat([1, 3, 4, 8], [12, 9, 6, 3]))
X = np.broadcast_to(np.arange(30.0)[:, None, None, None], (30, 4, 4, 1)).copy()


def rows_of(pair):
    return pair[0][:, 0, 0, 0].astype(int)


@given(ways=st.integers(2, 4), index=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_labels_and_names_follow_the_classes_that_were_drawn(ways, index):
    task = VariantTasks(X, Y, 4, 5, ClassSubset(num_ways=ways))(index)
    assert len(task.classes) == ways
    for pair, rows in zip((task.support, task.query), task.rows, strict=True):
        np.testing.assert_array_equal(rows_of(pair), rows)
        assert [task.classes[label] for label in pair[1]] == [str(Y[row]) for row in rows]
    assert (len(task.support[0]), len(task.query[0])) == (4, 5)
    assert len({*task.rows[0], *task.rows[1]}) == 9


def test_classes_are_drawn_as_evenly_as_they_allow():
    for index in range(20):
        task = VariantTasks(X, Y, 8, 12)(index)
        assert sorted(np.bincount(task.support[1], minlength=9)[[1, 3, 4, 8]]) == [2, 2, 2, 2]
        # The class 8 has one example left after the support set; the others share the rest.
        assert task.query[1].tolist().count(8) == 1
        assert np.ptp(np.bincount(task.query[1], minlength=9)[[1, 3, 4]]) <= 1


def test_when_not_all_classes_fit_any_of_them_may_come():
    first = {int(VariantTasks(X, Y, 1, 1)(index).support[1][0]) for index in range(60)}
    assert first == {1, 3, 4, 8}


def test_labels_stay_without_a_subset():
    task = VariantTasks(X, Y, 4, 5)(3)
    np.testing.assert_array_equal(task.query[1], Y[task.rows[1]])
    assert task.classes == tuple("012345678")


def test_a_given_subset_is_the_same_in_each_task():
    sampler = VariantTasks(X, Y, 4, 4, (ClassSubset(classes=(8, 1)),))
    assert {sampler(index).classes for index in range(9)} == {("8", "1")}


def test_each_task_has_a_domain_of_its_own():
    images = np.random.default_rng(1).random((30, 4, 4, 1))
    plain = VariantTasks(images, Y, 4, 5)
    shifted = VariantTasks(images, Y, 4, 5, (Contrast(lower=0.1, upper=0.9),))
    factors = []
    for index in range(6):
        before, after = plain(index), shifted(index)
        np.testing.assert_array_equal(before.rows[1], after.rows[1])
        ratio = [half[0].std() for half in (after.support, before.support)]
        other = [half[0].std() for half in (after.query, before.query)]
        factors.append(ratio[0] / ratio[1])
        # One factor for the whole task: support and query are of one domain.
        assert other[0] / other[1] == pytest.approx(factors[-1])
    assert min(factors) >= 0.1 and max(factors) <= 0.9
    assert len(set(factors)) == 6


@pytest.mark.parametrize("labels", [np.eye(9)[Y], Y / 10.0])
def test_other_labels_are_drawn_uniformly_and_have_no_names(labels):
    task = VariantTasks(X, labels, 4, 26)(0)
    assert task.classes == ()
    assert sorted([*task.rows[0], *task.rows[1]]) == list(range(30))
    np.testing.assert_array_equal(task.query[1], labels[task.rows[1]])


TWO = (ClassSubset(num_ways=3), ClassSubset(num_ways=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y[:3], 4, 5), "one label per input"),
        ((X, Y, 0, 5), "`num_support`"),
        ((X, Y, 4, 0), "`num_queries`"),
        ((X, Y, 4, 5, (), -1), "`seed`"),
        ((X, Y, 20, 11), "needs `num_support \\+ num_queries`.*available=30"),
        ((X, Y, 5, 5, ClassSubset(num_ways=2)), "available=9"),
        ((X, Y, 8, 8, ClassSubset(classes=(1, 8))), "available=15"),
        ((X, Y, 1, 1, ClassSubset(num_ways=5)), "fewer classes"),
        ((X, Y, 1, 1, ClassSubset(classes=(1, 2))), "lack a class"),
        ((X, Y, 1, 1, TWO), "At most one ClassSubset"),
        ((X, Y / 2.0, 1, 1, TWO[:1]), "only from class indices"),
        ((X.astype(int), Y, 1, 1, Noise(stddev=0.1)), "Images must be floats"),
        ((X, Y, 1, 1, lambda x, y, seed: (x[1:], y)), "number of examples"),
    ],
)
def test_tasks_that_cannot_be_drawn_are_refused_at_once(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        VariantTasks(*arguments)


def test_what_is_no_variant_is_refused():
    with pytest.raises(ArgumentTypeError, match="`variants` must hold variants"):
        VariantTasks(X, Y, 1, 1, ("noise",))
