"""Tasks from a tf.data.Dataset."""

import itertools

import numpy as np
import pytest

from tests.tasks.samplers import Pairs
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import DatasetTasks, VariantTasks

X = np.random.default_rng(0).random((20, 3, 2)).astype(np.float32)
Y = np.arange(20) % 4
EXAMPLES = list(zip(X, Y, strict=True))
BATCHES = [(X[start : start + 8], Y[start : start + 8]) for start in (0, 8, 16)]


@pytest.mark.parametrize("pairs", [EXAMPLES, BATCHES])
def test_examples_and_batches_give_the_tasks_of_the_arrays(pairs):
    sampler, expected = DatasetTasks(Pairs(pairs), 4, 8, seed=3), VariantTasks(X, Y, 4, 8, seed=3)
    np.testing.assert_array_equal(sampler.x, X)
    np.testing.assert_array_equal(sampler.y, Y)
    for index in range(3):
        np.testing.assert_array_equal(sampler(index).query[0], expected(index).query[0])
        assert sampler(index).classes == expected(index).classes


def test_one_hot_examples_are_not_taken_for_batches():
    one_hot = np.eye(4)[Y]
    assert DatasetTasks(Pairs(zip(X, one_hot, strict=True)), 4, 8).y.shape == (20, 4)
    assert DatasetTasks(Pairs([(X, one_hot)]), 4, 8).y.shape == (20, 4)


def test_the_kind_can_be_told_when_it_cannot_be_seen():
    vectors, one_hot = X[:, 0], np.eye(2)[Y % 2]
    pairs = list(zip(vectors, one_hot, strict=True))
    assert DatasetTasks(Pairs(pairs), 4, 8, batched=False).x.shape == (20, 2)
    assert DatasetTasks(Pairs(pairs), 4, 8).x.shape == (40,)


@pytest.mark.parametrize("pairs", [EXAMPLES, BATCHES])
def test_no_more_is_read_than_asked_for(pairs):
    endless = itertools.cycle(pairs)
    sampler = DatasetTasks(Pairs(endless, cardinality=-1), 4, 6, num_examples=11)
    np.testing.assert_array_equal(sampler.x, X[:11])
    read = 11 if pairs is EXAMPLES else 2
    following, expected = next(endless), pairs[read % len(pairs)]
    np.testing.assert_array_equal(following[0], expected[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Pairs(EXAMPLES, cardinality=-1), 4, 8), "must be finite.*`num_examples`"),
        ((Pairs([]), 4, 8), "must not be empty"),
        ((Pairs(EXAMPLES), 4, 17), "available=20"),
        ((Pairs(EXAMPLES), 4, 8, 0, 0), "`num_examples`"),
        ((Pairs(EXAMPLES), 4, 8, 0, 11), "available=11"),
        ((Pairs([(X[0], 0), (X[0, :2], 1)]), 1, 1), "must have one shape.*first=\\(3, 2\\)"),
    ],
)
def test_data_sets_that_do_not_do_are_refused_at_once(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        DatasetTasks(*arguments)


@pytest.mark.parametrize("element", [X[0], (X[0],), (X[0], 1, 1.0), ({"image": X[0]}, 1)])
def test_anything_but_pairs_of_arrays_is_refused(element):
    with pytest.raises(ArgumentTypeError, match="pairs"):
        DatasetTasks(Pairs([element]), 4, 8)


def test_what_is_no_data_set_is_refused():
    with pytest.raises(ArgumentTypeError, match="Pass arrays to VariantTasks.*|tf.data.Dataset"):
        DatasetTasks((X, Y), 4, 8)


def test_real_data_sets():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    for finite in (dataset, dataset.batch(8), dataset.filter(lambda x, y: True)):
        np.testing.assert_array_equal(DatasetTasks(finite, 4, 8).x, X)
    with pytest.raises(InvalidArgumentError, match="must be finite"):
        DatasetTasks(dataset.repeat(), 4, 8)
    assert len(DatasetTasks(dataset.repeat(), 4, 8, num_examples=30).x) == 30
