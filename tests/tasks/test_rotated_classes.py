"""Turned images as classes."""

import numpy as np
import pytest

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassArrays, ClassSource, RotatedClasses, SomeClasses, base_class

X = np.random.default_rng(0).random((6, 4, 4, 2), np.float32)
SOURCE = ClassArrays(X, np.array([0, 1] * 3), ("a", "b"))
ROWS = np.array([2, 0])


def test_each_turn_is_a_class():
    turned = RotatedClasses(SOURCE)
    assert isinstance(turned, ClassSource)
    assert turned.classes == ("a", "a@90", "a@180", "a@270", "b", "b@90", "b@180", "b@270")
    assert {turned.count(name) for name in turned.classes} == {3}


def test_turns_are_anticlockwise():
    turned = RotatedClasses(SOURCE)
    plain = SOURCE.examples("b", ROWS)
    expected = {
        "b": plain,
        "b@90": plain.transpose(0, 2, 1, 3)[:, ::-1],
        "b@180": plain[:, ::-1, ::-1],
        "b@270": plain.transpose(0, 2, 1, 3)[:, :, ::-1],
    }
    for name, images in expected.items():
        np.testing.assert_array_equal(turned.examples(name, ROWS), images)
        assert turned.examples(name, ROWS).flags.c_contiguous


def test_some_turns_only():
    assert RotatedClasses(SOURCE, (1, 2)).classes == ("a@90", "a@180", "b@90", "b@180")


@pytest.mark.parametrize("turns", [(), (1, 1), (4,), (90,), (0.5,)])
def test_turns_that_are_none_are_refused(turns):
    with pytest.raises(InvalidArgumentError, match="quarter_turns"):
        RotatedClasses(SOURCE, turns)


@pytest.mark.parametrize("shape", [(6, 4, 5, 1), (6, 4, 4), (6, 9)])
def test_oblong_images_are_refused_at_once(shape):
    with pytest.raises(InvalidArgumentError, match="square images.*shape="):
        RotatedClasses(ClassArrays(np.zeros(shape), np.zeros(6, int)))


def test_what_is_turned_is_not_turned_again():
    turned = RotatedClasses(SOURCE)
    with pytest.raises(InvalidArgumentError, match="turned already.*name='a@90'"):
        RotatedClasses(SomeClasses(turned, ("a", "a@90")))


def test_unknown_classes_and_sources_are_refused():
    with pytest.raises(InvalidArgumentError, match="name='a@45'"):
        RotatedClasses(SOURCE).count("a@45")
    with pytest.raises(ArgumentTypeError, match="ClassArrays"):
        RotatedClasses(X)


def test_the_base_of_a_class():
    assert [base_class(name) for name in RotatedClasses(SOURCE).classes] == ["a"] * 4 + ["b"] * 4
    assert base_class("mail@home") == "mail@home"
