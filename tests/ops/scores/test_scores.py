"""Scores against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.ops import (
    Score,
    ScoreInputs,
    get_score,
    register_score,
    taylor_saliency,
    zero_share,
)
from tf_metacompress.policy import LayerPlan

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32")


def scores(name, **fields):
    return get_score(name).function(ScoreInputs(kernel=tf.constant(KERNEL), **fields)).numpy()


def test_magnitude_is_that_of_the_deployed_weight():
    gain = np.array([1.0, -2.0, 0.5, 3.0], "float32")
    np.testing.assert_array_equal(scores("magnitude"), np.abs(KERNEL))
    np.testing.assert_allclose(scores("magnitude", channel_gain=gain), np.abs(KERNEL * gain))


def test_taylor_saliency_estimates_the_change_of_the_loss():
    """Against the loss itself, in float64, with one small weight removed at a time."""
    generator = np.random.default_rng(1)
    kernel, x, y = generator.normal(size=(5,)) * 1e-3, generator.normal(size=(20, 5)), np.ones(20)

    def loss(weights):
        return np.mean((x @ weights - y) ** 2)

    gradient = 2 * x.T @ (x @ kernel - y) / len(y)
    changes = []
    for index in range(5):
        removed = kernel.copy()
        removed[index] = 0.0
        changes.append(abs(loss(removed) - loss(kernel)))
    got = taylor_saliency(tf.constant(kernel), tf.constant(gradient)).numpy()
    np.testing.assert_allclose(got, changes, rtol=0.05)
    saliency = np.abs(generator.normal(size=KERNEL.shape)).astype("float32")
    np.testing.assert_array_equal(scores("taylor", saliency=saliency), saliency)


def test_activation_counts_zeros_of_each_channel():
    result = np.maximum(np.random.default_rng(0).normal(size=(5, 7, 7, 4)), 0.0).astype("float32")
    result[..., 1] = 0.0
    share = zero_share(tf.constant(result), 4).numpy()
    np.testing.assert_allclose(share, (result == 0).mean(axis=(0, 1, 2)), rtol=1e-6)
    got = scores("activation", zero_share=share)
    np.testing.assert_allclose(got, np.broadcast_to(1 - share, KERNEL.shape), rtol=1e-6)
    assert not got[..., 1].any()


def test_random_scores_depend_on_the_seed_only():
    np.testing.assert_array_equal(scores("random", seed=3), scores("random", seed=3))
    assert np.any(scores("random", seed=3) != scores("random", seed=4))
    drawn = np.concatenate([scores("random", seed=seed).ravel() for seed in range(30)])
    assert drawn.min() >= 0.0 and drawn.max() < 1.0 and abs(drawn.mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("magnitude", ()),
        ("taylor", ("saliency",)),
        ("activation", ("zero_share",)),
        ("random", ()),
    ],
)
def test_a_score_says_what_it_needs(name, needs):
    assert get_score(name).needs == needs


def test_a_new_score_is_one_registration():
    register_score(Score(name="cube", function=lambda inputs: tf.abs(inputs.kernel) ** 3))
    np.testing.assert_allclose(scores("cube"), np.abs(KERNEL) ** 3, rtol=1e-6)
    assert LayerPlan("conv", sparsity=0.5, score="cube").score == "cube"


def test_unknown_names_are_refused():
    with pytest.raises(InvalidArgumentError, match="Did you mean 'taylor'"):
        get_score("tailor")
    with pytest.raises(InvalidArgumentError, match="`needs`"):
        Score(name="x", function=keras.ops.abs, needs=("luck",))
