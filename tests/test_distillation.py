"""The loss of distillation, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from tf_metacompress.distillation import as_logits, softened_divergence

LOGITS = np.random.default_rng(0).normal(scale=3.0, size=(2, 5, 4))


def expected(teacher, student, temperature):
    given = softmax(teacher / temperature, axis=-1)
    apart = np.log(given) - log_softmax(student / temperature, axis=-1)
    return temperature**2 * (given * apart).sum(axis=-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_it_is_the_divergence_of_numpy(temperature):
    found = softened_divergence(*map(tf.constant, LOGITS), temperature).numpy()
    np.testing.assert_allclose(found, expected(*LOGITS, temperature), rtol=1e-10)


def test_probabilities_and_logits_say_the_same():
    given = [as_logits(softmax(part, axis=-1), probabilities=True) for part in LOGITS]
    found = softened_divergence(*given, 3.0).numpy()
    np.testing.assert_allclose(found, expected(*LOGITS, 3.0), rtol=1e-10)


def test_gradients_go_to_the_student_only():
    teacher, student = (tf.Variable(part) for part in LOGITS)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(softened_divergence(teacher, student, 2.0))
    slopes = tape.gradient(value, [teacher, student])
    assert slopes[0] is None
    # T² · (softmax(s / T) − softmax(t / T)) / T
    given = 2.0 * (softmax(LOGITS[1] / 2.0, axis=-1) - softmax(LOGITS[0] / 2.0, axis=-1))
    np.testing.assert_allclose(slopes[1].numpy(), given, rtol=1e-10, atol=1e-14)


def test_a_probability_of_zero_stays_finite():
    logits = as_logits(tf.constant([[1.0, 0.0]]), probabilities=True)
    assert logits.dtype == tf.float32
    assert np.isfinite(softened_divergence(logits, logits[:, ::-1], 1.0)).all()
