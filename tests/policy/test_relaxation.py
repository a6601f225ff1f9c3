"""Leaving out actions never leaves out the best choice."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.policy.relaxation import survivors


def random_problem(seed, shape=(4, 5), num_resources=2):
    generator = np.random.default_rng(seed)
    damage = generator.exponential(size=shape)
    usage = generator.exponential(size=(*shape, num_resources))
    return damage - damage.min(axis=1, keepdims=True), usage - usage.min(axis=1, keepdims=True)


def least_damage(damage, usage, room, kept):
    layers = np.arange(len(damage))
    choices = itertools.product(*(np.flatnonzero(row) for row in kept))
    fitting = (c for c in choices if (usage[layers, c].sum(axis=0) <= room).all())
    return min((damage[layers, c].sum() for c in fitting), default=np.inf)


@given(st.integers(0, 10**6), st.floats(0.3, 3.0))
def test_some_best_choice_survives(seed, scale):
    damage, usage = random_problem(seed)
    usage, room = usage / scale, np.ones(2)
    damage[0, 1] = np.inf
    allowed = np.isfinite(damage)
    kept = survivors(damage, usage, room)
    assert not kept[0, 1]
    assert least_damage(damage, usage, room, kept) == least_damage(damage, usage, room, allowed)


def test_most_actions_of_a_large_problem_are_left_out():
    damage, usage = random_problem(0, shape=(40, 30), num_resources=1)
    assert survivors(damage, usage / usage.max(axis=1).sum() * 5.0, np.ones(1)).mean() < 0.1


def test_everything_survives_when_nothing_fits():
    damage, usage = np.zeros((1, 2)), np.array([[[2.0, 0.0], [0.0, 2.0]]])
    assert survivors(damage, usage, np.array([1.0, 0.9])).all()
