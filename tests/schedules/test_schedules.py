"""Schedules against the formulas of their papers; tfmot's own objects are compared elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.schedules import (
    ConstantSparsity,
    IterativeSparsity,
    OneShotSparsity,
    PolynomialSparsity,
    SparsitySchedule,
    as_schedule,
    from_tfmot,
)

STEPS = st.integers(0, 400)


@st.composite
def polynomials(draw):
    begin_step = draw(st.integers(0, 50))
    return PolynomialSparsity(
        begin_step=begin_step,
        end_step=begin_step + draw(st.integers(1, 300)),
        frequency=draw(st.integers(1, 60)),
        power=draw(st.floats(0.5, 4.0)),
        initial_fraction=draw(st.floats(0.0, 1.0)),
    )


@given(polynomials())
def test_a_polynomial_rises_from_its_initial_fraction_to_the_target(schedule):
    fractions = [schedule(step)[1] for step in range(schedule.end_step + 3)]
    assert fractions[0] == pytest.approx(schedule.initial_fraction)
    assert fractions[schedule.end_step :] == [1.0] * 3
    assert all(0.0 <= a <= b + 1e-12 for a, b in zip(fractions, fractions[1:], strict=False))


@given(polynomials())
def test_the_last_update_reaches_the_target(schedule):
    updates = [step for step in range(schedule.end_step + 200) if schedule(step)[0]]
    assert updates[-1] == schedule.end_step
    assert schedule(updates[-1]) == (True, 1.0)
    regular = range(schedule.begin_step, schedule.end_step, schedule.frequency)
    assert updates[:-1] == list(regular)


def test_a_polynomial_follows_the_formula():
    schedule = PolynomialSparsity(
        begin_step=10, end_step=30, frequency=1, power=2.0, initial_fraction=0.2
    )
    assert schedule(15)[1] == pytest.approx(1.0 + (0.2 - 1.0) * (1.0 - 5 / 20) ** 2)


@given(STEPS, st.integers(0, 100), st.integers(1, 50))
def test_a_constant_schedule_never_ends_by_default(step, begin_step, frequency):
    schedule = ConstantSparsity(begin_step=begin_step, frequency=frequency)
    should_update, fraction = schedule(step)
    assert fraction == float(step >= begin_step)
    assert should_update == (step >= begin_step and (step - begin_step) % frequency == 0)


def test_a_constant_schedule_updates_at_its_end_and_not_after():
    schedule = ConstantSparsity(end_step=25, frequency=10)
    assert [step for step in range(60) if schedule(step)[0]] == [0, 10, 20, 25]
    assert schedule(50) == (False, 1.0)


@given(st.integers(0, 60), STEPS)
def test_one_shot_updates_once(begin_step, step):
    schedule = OneShotSparsity(begin_step=begin_step)
    assert schedule(step) == (step == begin_step, 0.0 if step < begin_step else 1.0)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 30))
def test_rounds_raise_the_sparsity_in_equal_steps_and_let_it_recover(rounds, length, begin_step):
    schedule = IterativeSparsity(num_rounds=rounds, steps_per_round=length, begin_step=begin_step)
    seen = [schedule(step) for step in range(begin_step + rounds * length + 5)]
    updates = [step for step, (should_update, _) in enumerate(seen) if should_update]
    assert updates == [begin_step + number * length for number in range(rounds)]
    assert updates[-1] == schedule.end_step
    for number, step in enumerate(updates):
        assert seen[step][1] == pytest.approx((number + 1) / rounds)
        assert {fraction for _, fraction in seen[step : step + length]} == {seen[step][1]}
    assert all(fraction == 0.0 for _, fraction in seen[:begin_step])
    assert seen[-1][1] == 1.0


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantSparsity(begin_step=3, end_step=9, frequency=2),
        PolynomialSparsity(begin_step=1, end_step=9, power=1.5, initial_fraction=0.25),
        OneShotSparsity(begin_step=4),
        IterativeSparsity(num_rounds=3, steps_per_round=7, begin_step=2),
    ],
)
def test_configs_make_equal_schedules(schedule):
    assert type(schedule).from_config(schedule.get_config()) == schedule
    assert as_schedule(schedule) is schedule
    assert isinstance(schedule, SparsitySchedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantSparsity(begin_step=-1), "`begin_step`"),
        (lambda: ConstantSparsity(end_step=-2), "`end_step`"),
        (lambda: ConstantSparsity(begin_step=5, end_step=4), "must not come before"),
        (lambda: ConstantSparsity(frequency=0), "`frequency`"),
        (lambda: ConstantSparsity(frequency=1.5), "`frequency`"),
        (lambda: OneShotSparsity(begin_step=-1), "`begin_step`"),
        (lambda: IterativeSparsity(num_rounds=0, steps_per_round=5), "`num_rounds`"),
        (lambda: IterativeSparsity(num_rounds=2, steps_per_round=0), "`steps_per_round`"),
        (lambda: PolynomialSparsity(end_step=0), "must come after"),
        (lambda: PolynomialSparsity(end_step=-1), "must come after"),
        (lambda: PolynomialSparsity(end_step=9, power=0.0), "`power`"),
        (lambda: PolynomialSparsity(end_step=9, initial_fraction=1.5), "`initial_fraction`"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


class FakeTfmot:
    """Behaves like a tfmot schedule, whose numbers arrive as scalars of another kind."""

    def __init__(self, **config):
        self._config = config

    def __call__(self, step):
        return step % 10 == 0, [0.25, 0.5, 0.8][min(step // 10, 2)]

    def get_config(self):
        return {"class_name": "PolynomialDecay", "config": self._config}


def test_a_tfmot_schedule_is_read_as_shares_of_its_final_sparsity():
    schedule = from_tfmot(FakeTfmot(final_sparsity=0.8, begin_step=10, end_step=30, frequency=10))
    assert schedule(5) == (False, 0.0)
    assert schedule(10) == (True, 0.625)
    assert schedule(25) == (False, 1.0)
    assert (schedule.begin_step, schedule.end_step, schedule.frequency) == (10, 30, 10)
    assert schedule.get_config()["class_name"] == "PolynomialDecay"


def test_a_constant_tfmot_schedule_names_its_target():
    schedule = from_tfmot(FakeTfmot(target_sparsity=0.5, begin_step=0))
    assert schedule.final_sparsity == 0.5
    assert schedule(20) == (True, 1.0)


@pytest.mark.parametrize("schedule", [None, lambda step: (True, 0.5), 0.5])
def test_other_objects_are_no_tfmot_schedules(schedule):
    with pytest.raises(ArgumentTypeError, match="tfmot pruning schedule"):
        from_tfmot(schedule)


@pytest.mark.parametrize("config", [{}, {"final_sparsity": 0.0}, {"final_sparsity": 1.0}])
def test_a_tfmot_schedule_needs_a_final_sparsity(config):
    with pytest.raises(InvalidArgumentError, match="final.sparsity"):
        from_tfmot(FakeTfmot(**config))
