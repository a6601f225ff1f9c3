"""Φ from measured outcomes: the order of policies, its loss, and its file."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.meta import damage_network
from tf_metacompress.meta.features import FEATURES, NUM_FEATURES
from tf_metacompress.meta.outcome_training import Regression, learn_from_outcomes, ranking_loss
from tf_metacompress.meta.outcomes import (
    Outcomes,
    load_outcomes,
    sample_damages,
    save_outcomes,
)
from tf_metacompress.meta.support_reading import SupportReading

PLACE = FEATURES.index("has_batch_norm")


def outcomes_of(seed, policies=10, layers=4):
    """Made up: layers with BatchNormalization suffer eight times what the prior says."""
    generator = np.random.default_rng(seed)
    features = np.zeros((policies, layers, NUM_FEATURES), np.float32)
    norm = generator.integers(0, 2, size=layers)
    features[..., PLACE] = norm
    prior = generator.uniform(0.1, 1.0, (policies, layers)).astype("float32")
    losses = (prior * np.where(norm, 8.0, 1.0)).sum(axis=1).astype("float32") / layers
    return Outcomes(features=features, prior=prior, informed=prior, losses=losses)


def order_of(phi, outcomes):
    """Share of pairs whose order Φ predicts."""
    damage = damage_network.mean_damage(
        phi, tf.constant(outcomes.features), tf.constant(outcomes.prior)
    )
    said = tf.reduce_sum(damage, axis=-1).numpy()
    gap, apart = (np.subtract.outer(each, each) for each in (outcomes.losses, said))
    return np.mean((np.sign(gap) == np.sign(apart))[gap != 0.0])


def test_the_loss_is_that_of_all_pairs_written_out():
    generator = np.random.default_rng(1)
    damage, losses = generator.uniform(0.1, 2.0, (2, 3, 5))
    known = np.ones((3, 5))
    known[1, 3:] = 0.0
    found = ranking_loss(*map(tf.constant, (damage, losses, known)), 2.0)
    for task in range(3):
        total = weights = 0.0
        for i in range(5):
            for j in range(5):
                gap = losses[task, i] - losses[task, j]
                weight = min(abs(gap), 1.0) * known[task, i] * known[task, j]
                apart = math.log(damage[task, i] / damage[task, j])
                total += weight * math.log1p(math.exp(-math.copysign(1.0, gap) * apart * 2.0))
                weights += weight
        assert float(found[task]) == pytest.approx(total / weights, rel=1e-6)


def test_phi_learns_an_order_that_the_prior_gets_wrong_and_carries_it_over():
    phi = damage_network.init_heads(NUM_FEATURES, (16,), num_heads=2)
    seen, unseen = ([outcomes_of(s) for s in seeds] for seeds in (range(30), range(90, 100)))
    settings = Regression(num_steps=60, learning_rate=2e-2, penalty=0.03)
    learned = learn_from_outcomes(phi, seen, settings)
    before, after = (np.mean([order_of(p, each) for each in unseen]) for p in (phi, learned))
    assert after > before + 0.08


def test_the_same_seed_learns_the_same():
    phi, few = damage_network.init_heads(NUM_FEATURES, (4,), num_heads=2), [outcomes_of(5)]
    runs = [learn_from_outcomes(phi, few, Regression(num_steps=2, seed=s)) for s in (1, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_tasks_of_any_size_and_losses_that_are_not_finite_are_taken():
    phi = damage_network.init_heads(NUM_FEATURES, (4,), num_heads=2)
    odd = outcomes_of(3, policies=3, layers=1)
    odd.losses[0] = np.nan
    learned = learn_from_outcomes(phi, [odd, outcomes_of(4)], Regression(num_steps=3))
    assert all(np.isfinite(tensor.numpy()).all() for tensor in learned)


def test_outcomes_that_say_nothing_are_refused():
    phi = damage_network.init_heads(NUM_FEATURES, (4,), num_heads=1)
    flat = outcomes_of(0)
    flat.losses[:] = 2.3
    with pytest.raises(InvalidArgumentError, match="better than others.*outcomes=1"):
        learn_from_outcomes(phi, [flat], Regression())


def test_outcomes_go_through_a_file(tmp_path):
    saved = [outcomes_of(0), outcomes_of(1, policies=4, layers=2)]
    save_outcomes(tmp_path / "outcomes.npz", saved)
    for a, b in zip(saved, load_outcomes(tmp_path / "outcomes.npz"), strict=True):
        for name in vars(a):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    save_outcomes(tmp_path / "none.npz", [])
    assert load_outcomes(tmp_path / "none.npz") == []


def test_the_tables_drawn_begin_with_the_known_ones_and_are_positive():
    generator = np.random.default_rng(0)
    prior, curvature, measured = generator.uniform(0.0, 1.0, (3, 3, 4))
    prior[0, 0] = 0.0
    actions = np.array([[0.0, 8], [0.5, 8], [0.0, 4], [0.5, 4]])
    told = SupportReading(curvature=curvature, measured=measured)
    tables = sample_damages(prior, told, actions, 7, generator)
    assert len(tables) == 7
    np.testing.assert_array_equal(tables[0], prior)
    np.testing.assert_array_equal(tables[1], measured)
    np.testing.assert_allclose(tables[2], np.sqrt(prior * measured))
    assert all(np.isfinite(table).all() and (table >= 0.0).all() for table in tables)
