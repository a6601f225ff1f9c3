"""Classes of arrays, and choices of classes."""

import numpy as np
import pytest

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassArrays, ClassSource, SomeClasses

X = np.arange(24, dtype=np.uint8).reshape(12, 2)
Y = np.array([7, 2, 2, 7, 5, 2, 7, 5, 2, 2, 5, 7])
SOURCE = ClassArrays(X, Y)


def test_examples_come_by_class_in_the_order_of_the_arrays():
    assert isinstance(SOURCE, ClassSource)
    assert SOURCE.classes == ("2", "5", "7")
    for name in SOURCE.classes:
        expected = X[int(name) == Y]
        assert SOURCE.count(name) == len(expected)
        rows = np.array([2, 0])
        drawn = SOURCE.examples(name, rows)
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, expected[rows])


def test_a_change_of_what_was_drawn_does_not_reach_the_source():
    source = ClassArrays(np.zeros((4, 2), np.float32), np.array([0, 0, 1, 1]))
    source.examples("0", np.array([0, 1]))[:] = 9.0
    assert not source.examples("0", np.array([0, 1])).any()


def test_names_stand_for_indices():
    names = [f"class {index}" for index in range(8)]
    source = ClassArrays(X, Y, names)
    assert source.classes == ("class 2", "class 5", "class 7")
    np.testing.assert_array_equal(source.examples("class 5", np.array([0])), X[4:5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:0], Y[:0]), "must not be empty"),
        ((X, Y[:3]), "one label per input"),
        ((X, Y / 2), "class indices"),
        ((X, np.eye(8)[Y]), "class indices.*argmax"),
        ((np.where(X == 3, np.nan, X), Y), "finite"),
        ((X, Y, ("a", "b", "c")), "`names` must name every.*largest_index=7"),
        ((X, Y, ("a",) * 8), "`names` must name every class index, each differently"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ClassArrays(*arguments)


def test_some_classes_are_a_part_of_the_source():
    some = SomeClasses(SOURCE, ["7", "2"])
    assert isinstance(some, ClassSource)
    assert some.classes == ("7", "2")
    assert some.count("7") == SOURCE.count("7")
    rows = np.array([1])
    np.testing.assert_array_equal(some.examples("2", rows), SOURCE.examples("2", rows))


def test_classes_left_out_cannot_be_drawn():
    some = SomeClasses(SOURCE, ("7", "2"))
    for call in (some.count, lambda name: some.examples(name, np.array([0]))):
        with pytest.raises(InvalidArgumentError, match="one of the 2 of the source.*name='5'"):
            call("5")


def test_an_unknown_class_is_named_and_a_near_one_suggested():
    source = ClassArrays(X, Y % 2, ("Greek/alpha", "Greek/beta"))
    for call in (source.count, lambda name: source.examples(name, np.array([0]))):
        with pytest.raises(InvalidArgumentError, match="Did you mean 'Greek/alpha'"):
            call("Greek/alhpa")


@pytest.mark.parametrize("classes", [(), ("2", "2"), ("2", "8")])
def test_choices_of_classes_that_cannot_be_are_refused(classes):
    with pytest.raises(InvalidArgumentError, match=r"class"):
        SomeClasses(SOURCE, classes)


def test_a_source_must_be_one():
    with pytest.raises(ArgumentTypeError, match="Wrap arrays in ClassArrays"):
        SomeClasses(X, ("2",))
