"""Scores and their intervals."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.meta.learners.problems import dense_net, sampler
from tf_metacompress.meta import MAML, MetaScore
from tf_metacompress.meta.learners.episode import accuracy


def test_the_interval_is_that_of_students_t():
    """0.1, 0.2, 0.3, 0.4: s = 0.12910, t(0.975, 3) = 3.18245, from a table."""
    score = MetaScore(losses=np.array([0.1, 0.2, 0.3, 0.4]), accuracies=np.full(4, np.nan))
    assert score.loss == pytest.approx(0.25)
    assert score.loss_interval == pytest.approx(3.18245 * 0.129099 / 2.0, rel=1e-5)
    assert score.num_tasks == 4
    assert math.isnan(score.accuracy)
    assert str(score) == "loss 0.2500 ± 0.2054 over 4 tasks"


def test_accuracy_is_shown_where_there_is_one():
    score = MetaScore(losses=np.ones(2), accuracies=np.array([0.5, 1.0]))
    assert str(score).startswith("accuracy 0.7500 ± 3.1766, loss 1.0000 ± 0.0000")


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(0, 99), st.booleans())
def test_accuracy_is_the_share_of_largest_outputs(labels, seed, column):
    outputs = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype("float32")
    y = np.array(labels, "int32")
    expected = np.mean(outputs.argmax(1) == y)
    got = accuracy(tf.constant(y[:, None] if column else y), tf.constant(outputs))
    assert float(got) == pytest.approx(expected)


def test_there_is_no_accuracy_without_classes():
    whole, outputs = tf.constant([0, 1]), tf.zeros((2, 3))
    assert np.isnan(accuracy(tf.constant([0.0, 1.0]), outputs))
    assert np.isnan(accuracy(tf.constant([[0, 1], [1, 0]]), outputs))
    assert np.isnan(accuracy(whole, tf.zeros((2, 1))))
    assert np.isnan(accuracy(whole, tf.zeros((2, 3, 3))))


@pytest.mark.slow
def test_evaluation_equals_adapting_to_each_task():
    learner = MAML(dense_net(), inner_lr=0.1, inner_steps=2).compile("sgd")
    tasks = sampler(seed=4)
    score = learner.evaluate(tasks, num_tasks=5)
    for index in range(5):
        task = tasks(index)
        outputs = learner.adapt(task.support).predict(task.query[0], verbose=0)
        shifted = outputs - outputs.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        loss = -np.mean(logs[np.arange(len(outputs)), task.query[1]])
        assert score.losses[index] == pytest.approx(loss, rel=1e-4, abs=1e-5)
        assert score.accuracies[index] == pytest.approx(np.mean(outputs.argmax(1) == task.query[1]))
    assert learner.evaluate(tasks, num_tasks=5, inner_steps=9).loss != score.loss
