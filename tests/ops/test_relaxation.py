"""The relaxed choice: NumPy and SciPy for its value, float64 differences for its derivatives."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax

from tf_metacompress.ops import expected_cost, relaxed_choice, solve_multiplier

TEMPERATURE = 0.3


def problem(seed, layers=3, actions=5):
    """Damage rises as cost falls, both with noise, as real actions do."""
    generator = np.random.default_rng(seed)
    damage = np.sort(generator.uniform(0, 1, (layers, actions)), axis=1)
    cost = np.sort(generator.uniform(0.05, 0.6, (layers, actions)), axis=1)[:, ::-1]
    return damage, np.ascontiguousarray(cost)


def numpy_choice(damage, cost, budget, temperature, mask=None):
    """The multiplier by SciPy's root finder, in float64."""
    allowed = np.ones(damage.shape, bool) if mask is None else mask

    def choice(multiplier):
        logits = np.where(allowed, -(damage + multiplier * cost) / temperature, -np.inf)
        return softmax(logits, axis=1)

    def excess(multiplier):
        return np.sum(choice(multiplier) * cost) - budget

    multiplier = 0.0 if excess(0.0) <= 0 else brentq(excess, 0.0, 1e6, xtol=1e-14)
    return multiplier, choice(multiplier)


def between(damage, cost, share, mask=None):
    """A budget between the least possible cost and what is spent without a limit."""
    allowed = np.ones(damage.shape, bool) if mask is None else mask
    least = np.where(allowed, cost, np.inf).min(axis=1).sum()
    free = np.sum(numpy_choice(damage, cost, np.inf, TEMPERATURE, mask)[1] * cost)
    return least + share * (free - least)


# Traced once a dtype, since sixty eager halvings are slow; a test below compares both.
traced_choice = tf.function(relaxed_choice)
traced_multiplier = tf.function(solve_multiplier)


def tensors(*arrays, dtype=tf.float64):
    return [tf.constant(array, dtype) for array in arrays]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.02, 0.98), st.sampled_from([tf.float32, tf.float64]))
def test_an_active_budget_is_met_exactly(seed, share, dtype):
    damage, cost = problem(seed)
    budget = between(damage, cost, share)
    expected_multiplier, expected = numpy_choice(damage, cost, budget, TEMPERATURE)
    args = (*tensors(damage, cost, budget, dtype=dtype), TEMPERATURE)
    probabilities = traced_choice(*args)
    precision = 1e-9 if dtype == tf.float64 else 2e-5
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1.0, atol=precision)
    np.testing.assert_allclose(expected_cost(probabilities, args[1]), budget, atol=precision)
    np.testing.assert_allclose(probabilities, expected, atol=10 * precision)
    np.testing.assert_allclose(traced_multiplier(*args), expected_multiplier, rtol=20 * precision)


@given(st.integers(0, 10**6), st.floats(1.0, 3.0))
def test_a_loose_budget_costs_nothing(seed, factor):
    damage, cost = problem(seed)
    budget = between(damage, cost, 1.0) * factor + 1e-9
    args = (*tensors(damage, cost, budget), TEMPERATURE)
    assert float(traced_multiplier(*args)) == 0.0
    np.testing.assert_allclose(
        traced_choice(*args), softmax(-damage / TEMPERATURE, axis=1), atol=1e-12
    )


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_a_masked_action_has_probability_zero(seed, share):
    damage, cost = problem(seed)
    mask = np.random.default_rng(seed).random(damage.shape) > 0.5
    mask[:, 2] = True
    mask[0, :2] = [True, True]
    budget = between(damage, cost, share, mask)
    args = (*tensors(damage, cost, budget), TEMPERATURE, tf.constant(mask))
    probabilities = traced_choice(*args)
    assert np.all(probabilities.numpy()[~mask] == 0.0)
    expected = numpy_choice(damage, cost, budget, TEMPERATURE, mask)[1]
    np.testing.assert_allclose(probabilities, expected, atol=1e-8)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_an_unreachable_budget_gives_the_cheapest_actions_and_finite_gradients(dtype):
    damage, cost = tensors(*problem(0), dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(damage)
        probabilities = relaxed_choice(damage, cost, 0.01, TEMPERATURE)
        loss = tf.reduce_sum(probabilities * tf.sin(damage))
    np.testing.assert_allclose(probabilities[:, -1], 1.0, atol=1e-6)
    assert np.isfinite(tape.gradient(loss, damage)).all()


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.001])
def test_as_the_temperature_falls_the_choice_hardens(temperature):
    damage, cost = problem(3)
    budget = between(damage, cost, 0.5)
    probabilities = relaxed_choice(*tensors(damage, cost), budget, temperature).numpy()
    expected = numpy_choice(damage, cost, budget, temperature)[1]
    np.testing.assert_allclose(probabilities, expected, atol=1e-7)
    undecided = np.sum(probabilities.max(axis=1) < 0.99)
    if temperature == 0.001:
        assert undecided <= 1  # the Lagrangian solution mixes in one layer at most


@pytest.mark.slow
def test_traced_calls_equal_eager_ones():
    args = (*tensors(*problem(1)), between(*problem(1), 0.4), TEMPERATURE)
    for function in (solve_multiplier, relaxed_choice):
        traced = tf.function(lambda d, c, function=function: function(d, c, *args[2:]))
        np.testing.assert_allclose(traced(*args[:2]), function(*args), rtol=1e-12)


# The derivatives. What is differentiated below is a scalar of the whole result, with fixed random
# weights, along each coordinate of the damage.

WEIGHTS = np.random.default_rng(7).normal(size=(3, 5))
BUDGETS = {"active": 0.4, "nearly exhausted": 0.05, "loose": 1.5}


def multiplier_of(damage, cost, budget, mask):
    return solve_multiplier(damage, cost, budget, TEMPERATURE, mask) ** 2


def choice_of(damage, cost, budget, mask):
    return tf.reduce_sum(WEIGHTS * relaxed_choice(damage, cost, budget, TEMPERATURE, mask) ** 2)


FUNCTIONS = {"multiplier": multiplier_of, "choice": choice_of}
MASKS = {
    "all allowed": np.ones((3, 5), bool),
    "some forbidden": np.arange(15).reshape(3, 5) % 4 != 1,
}


def central_gradient(function, x, step=1e-5):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        high, low = x.copy(), x.copy()
        high[index] += step
        low[index] -= step
        gradient[index] = (function(high) - function(low)) / (2 * step)
    return gradient


@functools.cache
def derivatives_of(name):
    """Value, gradient, slope along a fixed direction, gradient of that slope; traced once."""
    direction = tf.constant(np.random.default_rng(9).normal(size=(3, 5)))

    @tf.function
    def derivatives(damage, cost, budget, mask):
        with tf.GradientTape() as outer:
            outer.watch(damage)
            with tf.GradientTape() as inner:
                inner.watch(damage)
                value = FUNCTIONS[name](damage, cost, budget, mask)
            gradient = inner.gradient(value, damage)
            slope = tf.reduce_sum(direction * gradient)
        return value, gradient, slope, outer.gradient(slope, damage)

    return derivatives


@pytest.mark.parametrize("share", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.slow
def test_both_derivatives_by_damage(name, mask, share):
    damage, cost = problem(5)
    rest = (*tensors(cost, between(damage, cost, share, mask)), tf.constant(mask))

    def derivatives(values):
        return [result.numpy() for result in derivatives_of(name)(tf.constant(values), *rest)]

    _, gradient, _, second = derivatives(damage)
    expected = central_gradient(lambda values: derivatives(values)[0], damage)
    np.testing.assert_allclose(gradient, expected, atol=1e-7, rtol=1e-6)
    expected = central_gradient(lambda values: derivatives(values)[2], damage)
    np.testing.assert_allclose(second, expected, atol=1e-6, rtol=1e-5)
    has_curvature = np.abs(expected).max() > 1e-3
    assert has_curvature == (name == "choice" or share < 1.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_derivative_by_cost_and_budget(name):
    damage, cost = problem(5)
    budget = between(damage, cost, 0.4)
    x, limit = tf.constant(cost), tf.constant(budget)

    @tf.function
    def function(c, b):
        return FUNCTIONS[name](tf.constant(damage), c, b, None)

    with tf.GradientTape() as tape:
        tape.watch([x, limit])
        value = function(x, limit)
    to_cost, to_budget = tape.gradient(value, [x, limit])
    expected = central_gradient(lambda c: float(function(tf.constant(c), limit)), cost)
    np.testing.assert_allclose(to_cost, expected, atol=1e-7, rtol=1e-6)
    expected = central_gradient(lambda b: float(function(x, tf.constant(b))), np.array(budget))
    np.testing.assert_allclose(to_budget, expected, atol=1e-7, rtol=1e-6)
