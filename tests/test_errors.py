"""Messages and checks."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress import errors

NOT_NUMBERS = [True, None, "0.5", [0.5], 0.5j, np.array([0.5]), math.nan, math.inf, -math.inf]


def test_a_message_states_rule_value_and_fix():
    error = errors.invalid("`a` must be small.", "Pass 1.", a=7, b="x")
    assert str(error) == "`a` must be small. Received: a=7, b='x'. Pass 1."
    assert isinstance(error, ValueError)


def test_a_type_message_names_types_and_not_values():
    error = errors.wrong_type("`a` must be a Budget.", a=np.zeros(1000))
    assert str(error) == "`a` must be a Budget. Received: a of type ndarray."
    assert isinstance(error, TypeError)


def test_a_long_value_is_cut_and_stays_on_one_line():
    message = str(errors.invalid("Rule.", value=np.zeros((50, 50))))
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (errors.InfeasibleBudgetError("x"), ValueError),
        (errors.UnsupportedModelError("x"), ValueError),
        (errors.SecondOrderGradientError("x"), errors.UnsupportedModelError),
        (errors.MissingGradientError("x"), RuntimeError),
        (errors.CorruptFileError("x"), ValueError),
        (errors.ParityError("x"), RuntimeError),
        (errors.ArgumentTypeError("x"), TypeError),
    ],
)
def test_every_error_has_the_common_base(error, bases):
    assert isinstance(error, errors.MetacompressError)
    assert isinstance(error, bases)


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (
            errors.InfeasibleBudgetError("x", smallest={"size_bytes": 3.0}),
            "smallest",
            {"size_bytes": 3.0},
        ),
        (errors.SecondOrderGradientError("x", layers=["norm"]), "layers", ("norm",)),
        (errors.ParityError("x", report={"worst": 1.0}), "report", {"worst": 1.0}),
    ],
)
def test_attributes_survive_pickling(error, name, value):
    assert getattr(error, name) == value
    again = pickle.loads(pickle.dumps(error))
    assert getattr(again, name) == value
    assert str(again) == "x"


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_fractions_pass(value):
    assert errors.check_fraction("f", value) == value


@given(st.floats(max_value=0.0, exclude_max=True) | st.floats(min_value=1.0))
def test_other_numbers_are_no_fractions(value):
    with pytest.raises(errors.InvalidArgumentError, match="`f` must be a fraction"):
        errors.check_fraction("f", value)


def test_the_upper_end_is_allowed_on_request_only():
    assert errors.check_fraction("f", 1, upper_inclusive=True) == 1.0
    with pytest.raises(errors.InvalidArgumentError, match="Received: f=1"):
        errors.check_fraction("f", 1)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("check", [errors.check_fraction, errors.check_positive, errors.check_int])
def test_what_is_no_finite_number_is_refused(check, value):
    with pytest.raises(errors.InvalidArgumentError, match="`x` must"):
        check("x", value)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(3), 3])
def test_numpy_numbers_become_python_numbers(value):
    checked = errors.check_positive("x", value)
    assert type(checked) is float
    assert checked == value


@pytest.mark.parametrize("value", [0, -1, -0.0, 10**400])
def test_positive_means_above_zero_and_representable(value):
    with pytest.raises(errors.InvalidArgumentError, match="above 0"):
        errors.check_positive("x", value)


def test_integers_have_a_minimum():
    assert type(errors.check_int("n", np.int32(4), 4)) is int
    with pytest.raises(errors.InvalidArgumentError, match="integer of at least 5"):
        errors.check_int("n", 4, 5)
    with pytest.raises(errors.InvalidArgumentError, match="must be an integer"):
        errors.check_int("n", 4.0)


def test_choices_return_the_member():
    assert type(errors.check_choice("b", np.int64(8), (4, 8))) is int


@pytest.mark.parametrize("value", [True, 8.0, None, [8], "8", 5])
def test_other_values_are_no_choice(value):
    with pytest.raises(errors.InvalidArgumentError, match="must be one of 1, 8"):
        errors.check_choice("b", value, (1, 8))


def test_a_near_choice_is_suggested():
    with pytest.raises(errors.InvalidArgumentError, match="Did you mean 'int8'"):
        errors.check_choice("mode", "int_8", ("float32", "int8"))


def test_nothing_is_suggested_when_nothing_is_near():
    assert errors.did_you_mean("zzz", ["conv"]) == ""
    assert errors.did_you_mean(3, ["conv"]) == ""
