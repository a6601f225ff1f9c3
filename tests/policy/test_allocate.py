"""Allocation against trying every choice."""

import itertools
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import InfeasibleBudgetError, InvalidArgumentError
from tf_metacompress.policy import allocate


def best_by_trying(damage, cost, budget, mask):
    """Least damage of all choices inside the budget; infinite when there is none."""
    layers = np.arange(len(damage))
    best = np.inf
    for choice in itertools.product(*(np.flatnonzero(row) for row in mask)):
        if (cost[layers, choice].sum(axis=0) <= budget + 1e-9 * np.abs(budget)).all():
            best = min(best, damage[layers, choice].sum())
    return best


@st.composite
def problems(draw, values):
    """Small problems, whose budgets lie mostly between the least and the most that can be spent."""
    num_layers, num_actions = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    num_resources = draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    damage = values(generator, (num_layers, num_actions))
    cost = values(generator, (num_layers, num_actions, num_resources))
    mask = generator.random(damage.shape) < 0.8
    mask[np.arange(num_layers), generator.integers(0, num_actions, num_layers)] = True
    least = np.where(mask[..., None], cost, np.inf).min(axis=1).sum(axis=0)
    most = np.where(mask[..., None], cost, -np.inf).max(axis=1).sum(axis=0)
    share = np.array([draw(st.sampled_from([-0.1, 0.0, 0.2, 0.4, 0.7, 1.0])) for _ in least])
    return damage, cost, least + share * (most - least), mask


def small_integers(generator, shape):
    return generator.integers(-3, 10, shape).astype(float)


def many_magnitudes(generator, shape):
    return np.exp(generator.normal(0.0, 5.0, shape))


@pytest.mark.parametrize("values", [small_integers, many_magnitudes])
def test_the_choice_is_the_best_of_all(values):
    @settings(max_examples=120)
    @given(problems(values))
    def check(problem):
        damage, cost, budget, mask = problem
        best = best_by_trying(damage, cost, budget, mask)
        try:
            found = allocate(damage, cost, budget, mask=mask)
        except InfeasibleBudgetError:
            assert best == np.inf
            return
        layers = np.arange(len(damage))
        assert mask[layers, found.choice].all()
        assert found.damage == damage[layers, found.choice].sum()
        np.testing.assert_array_equal(found.cost, cost[layers, found.choice].sum(axis=0))
        assert (found.cost <= budget + 1e-9 * np.abs(budget)).all()
        assert found.damage == pytest.approx(best, rel=1e-9, abs=1e-12)

    check()


def best_by_dynamic_programming(damage, cost, budget):
    """Least damage for each whole amount spent, one layer after the other; costs are integers."""
    reached = np.zeros(budget + 1)
    for layer_damage, layer_cost in zip(damage, cost, strict=True):
        choices = [
            np.concatenate([np.full(min(c, budget + 1), np.inf), reached + d])[: budget + 1]
            for d, c in zip(layer_damage, layer_cost, strict=True)
        ]
        reached = np.min(choices, axis=0)
    return reached[budget]


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_the_best_for_many_layers(seed):
    generator = np.random.default_rng(seed)
    cost = np.sort(generator.integers(1, 400, (25, 12)), axis=1)
    damage = np.cumsum(generator.exponential(size=cost.shape), axis=1)[:, ::-1]
    least, most = cost.min(axis=1).sum(), cost.max(axis=1).sum()
    budget = int(least + generator.uniform(0.1, 0.7) * (most - least))
    found = allocate(damage, cost[..., None], [budget])
    assert found.damage == pytest.approx(best_by_dynamic_programming(damage, cost, budget))


def test_a_case_on_paper():
    # Both layers at full price take 9 of 7. The first can give up 2 for damage 3, the second for 2.
    found = allocate([[0, 3], [0, 2]], [[[4], [2]], [[5], [3]]], [7])
    assert found.choice.tolist() == [0, 1]
    assert (found.damage, found.cost.tolist()) == (2.0, [7.0])


def test_the_mask_hides_values_that_make_no_sense():
    damage = [[np.nan, 1.0, 0.5]]
    cost = [[[np.inf], [3.0], [9.0]]]
    found = allocate(damage, cost, [5.0], mask=[[False, True, True]])
    assert found.choice.tolist() == [1]


def test_what_is_fixed_counts_against_the_budget():
    cost = [[[4.0], [2.0]]]
    assert allocate([[0.0, 1.0]], cost, [10.0], fixed=[6.0]).choice.tolist() == [0]
    found = allocate([[0.0, 1.0]], cost, [10.0], fixed=[6.5])
    assert (found.choice.tolist(), found.cost.tolist()) == ([1], [8.5])


def test_an_infinite_budget_sets_no_limit():
    damage = np.array([[3.0, 1.0], [0.0, 5.0]])
    cost = np.arange(8.0).reshape(2, 2, 2)
    assert allocate(damage, cost, [np.inf, np.inf]).choice.tolist() == [1, 0]
    assert allocate(damage, cost, [4.0, np.inf]).choice.tolist() == [0, 0]


def test_a_budget_of_exactly_the_least_is_reached():
    cost = np.array([[[0.1], [0.7]], [[0.2], [0.9]]])
    found = allocate([[1.0, 0.0], [1.0, 0.0]], cost, [0.1 + 0.2])
    assert found.choice.tolist() == [0, 0]


def test_an_unreachable_budget_names_the_least_that_is():
    cost = np.array([[[40.0, 1.0], [20.0, 2.0]], [[50.0, 1.0], [30.0, 2.0]]])
    with pytest.raises(
        InfeasibleBudgetError, match=r"smallest size_bytes is 60\..*size_bytes=49"
    ) as e:
        allocate(
            np.zeros((2, 2)), cost, [49.0, 9.0], fixed=[10.0, 0.0], resources=("size_bytes", "macs")
        )
    assert e.value.smallest == {"size_bytes": 60.0, "macs": 2.0}


@given(st.floats(1e-9, 1e12), st.integers(1, 3))
def test_the_least_that_is_told_is_enough(least, num_layers):
    damage, cost = np.zeros((num_layers, 1)), np.full((num_layers, 1, 1), least)
    with pytest.raises(InfeasibleBudgetError) as e:
        allocate(damage, cost, [0.5 * least])
    told = float(re.search(r"Allow at least (\S+)\.$", str(e.value))[1].replace(",", ""))
    assert told <= 1.02 * num_layers * least
    assert allocate(damage, cost, [told]).choice.tolist() == [0] * num_layers


def test_budgets_that_exclude_each_other_say_so():
    cost = np.array([[[1.0, 9.0], [9.0, 1.0]]])
    with pytest.raises(InfeasibleBudgetError, match="together, though each can alone") as e:
        allocate([[0.0, 0.0]], cost, [5.0, 5.0])
    assert e.value.smallest == {"0": 1.0, "1": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[np.nan]], [[[1.0]]], [1.0]), "`damage` must be finite"),
        (([[0.0]], [[[np.inf]]], [1.0]), "`cost` must be finite"),
        (([[0.0]], [[[1.0]]], [np.nan]), "`budget` must not hold NaN"),
        (([0.0], [[[1.0]]], [1.0]), "Shapes must be"),
        (([[0.0]], [[[1.0]]], [1.0, 2.0]), "Shapes must be"),
        (([[0.0]], [[[1.0]]], 1.0), "Shapes must be"),
        ((np.zeros((0, 2)), np.zeros((0, 2, 1)), [1.0]), "Shapes must be"),
    ],
)
def test_bad_problems_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        allocate(*arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask": [[False]]}, r"layers_without=\[0\]"),
        ({"mask": [True]}, "Shapes must be"),
        ({"fixed": [np.nan]}, "`fixed` must be finite"),
        ({"resources": ("a", "b")}, "`resources` must name each"),
    ],
)
def test_bad_options_are_refused(fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        allocate([[0.0]], [[[1.0]]], [1.0], **fields)


def test_a_large_problem_is_solved_in_time():
    generator = np.random.default_rng(0)
    sizes = np.exp(generator.uniform(5.0, 12.0, (60, 1)))
    kept = np.tile(np.linspace(1.0, 0.01, 32), 2)
    bits = np.repeat([8.0, 4.0], 32)
    cost = np.stack([sizes * kept * bits / 8, sizes * (bits / 8 + 0 * kept)], axis=-1)
    cost *= generator.uniform(0.95, 1.05, cost.shape)
    steep = generator.uniform(1.0, 6.0, (60, 1))
    damage = generator.uniform(0.1, 10.0, (60, 1)) * ((1.0 - kept) ** steep + 0.05 * (bits == 4))
    least, most = cost.min(axis=1).sum(axis=0), cost.max(axis=1).sum(axis=0)
    budget = least + np.array([0.1, 0.5]) * (most - least)
    begin = time.perf_counter()
    found = allocate(damage, cost, budget)
    assert time.perf_counter() - begin < 10.0  # 0.3 s on an idle core
    assert (found.cost <= budget * (1 + 1e-9)).all()
    assert found.damage < damage[:, 31].sum()
