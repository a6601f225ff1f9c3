"""N-way K-shot tasks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassArrays, ClassSubset, Noise, NWayKShot

# Each example holds its own row and class.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 10))
X = np.stack([np.arange(70), LABELS], axis=1).astype(np.float32)
SOURCE = ClassArrays(X, LABELS)


@given(
    ways=st.integers(2, 7),
    shots=st.integers(1, 5),
    queries=st.integers(1, 5),
    index=st.integers(0, 10**9),
)
@settings(max_examples=25, deadline=None)
def test_a_task_is_balanced_interleaved_and_labelled_by_its_classes(ways, shots, queries, index):
    task = NWayKShot(SOURCE, ways, shots, queries)(index)
    assert len(set(task.classes)) == len(task.classes) == ways
    for (x, y), number in ((task.support, shots), (task.query, queries)):
        assert y.tolist() == list(range(ways)) * number
        assert [task.classes[label] for label in y] == [str(int(label)) for label in x[:, 1]]
    rows = np.concatenate([task.support[0], task.query[0]])[:, 0]
    assert len(set(rows.tolist())) == ways * (shots + queries)


def test_rows_identify_the_examples():
    task = NWayKShot(SOURCE, 3, 2, 4)(5)
    for (x, _), rows in zip((task.support, task.query), task.rows, strict=True):
        for example, (position, row) in zip(x, rows, strict=True):
            name = SOURCE.classes[position]
            np.testing.assert_array_equal(SOURCE.examples(name, np.array([row]))[0], example)


def test_classes_and_examples_are_drawn_evenly():
    sampler = NWayKShot(SOURCE, 2, 1, 1)
    tasks = [sampler(index) for index in range(3500)]
    first = np.bincount([int(task.classes[0]) for task in tasks], minlength=7)
    support = np.bincount([int(task.support[0][0, 0]) for task in tasks], minlength=70)
    # Chi-squared statistics; 99.9 % of draws stay below 22.5 (6 degrees) and 111 (69).
    assert ((first - 500) ** 2 / 500).sum() < 22.5
    assert ((support - 50) ** 2 / 50).sum() < 111


def test_variants_alter_the_whole_task_anew_each_time():
    images = ClassArrays(np.random.default_rng(0).random((40, 4, 4, 1)), np.arange(40) % 4)
    plain = NWayKShot(images, 2, 1, 3)
    noisy = NWayKShot(images, 2, 1, 3, augment=Noise(stddev=0.2))
    assert noisy.augment == (Noise(stddev=0.2),)
    differences = []
    for index in range(2):
        before, after = plain(index), noisy(index)
        assert before.classes == after.classes
        np.testing.assert_array_equal(before.query[1], after.query[1])
        halves = zip((before.support, before.query), (after.support, after.query), strict=True)
        differences.append(np.concatenate([b[0] - a[0] for b, a in halves]))
        assert all(difference.any() for difference in differences[-1])
    assert (differences[0] != differences[1]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 1), "at least `num_ways` classes.*num_ways=8, classes=7"),
        ((1, 1), "`num_ways` must be an integer of at least 2"),
        ((2, 0), "`num_shots`"),
        ((2, 1, 0), "`num_queries`"),
        ((2, 1, 1, -1), "`seed`"),
        ((2, 1.0), "`num_shots`"),
        ((2, 6, 5), "= 11 examples.*name='0', examples=10"),
        ((2, 1, 1, 0, (ClassSubset(num_ways=2),)), "`augment` must keep the classes"),
    ],
)
def test_tasks_that_cannot_be_drawn_are_refused_at_once(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        NWayKShot(SOURCE, *arguments)


def test_the_class_with_too_few_examples_is_named():
    source = ClassArrays(X, np.where(np.arange(70) < 3, 9, LABELS))
    with pytest.raises(InvalidArgumentError, match="name='9', examples=3"):
        NWayKShot(source, 2, 2, 2)


def test_wrong_types_are_refused():
    with pytest.raises(ArgumentTypeError, match="Wrap arrays"):
        NWayKShot(X, 2, 1)
    with pytest.raises(ArgumentTypeError, match="`augment` must hold variants.*str"):
        NWayKShot(SOURCE, 2, 1, 1, augment=("noise",))


def test_a_variant_that_drops_examples_is_refused():
    sampler = NWayKShot(SOURCE, 2, 1, 2, augment=(lambda x, y, seed: (x[1:], y[1:]),))
    with pytest.raises(InvalidArgumentError, match="number of examples.*before=6, after=5"):
        sampler(0)
