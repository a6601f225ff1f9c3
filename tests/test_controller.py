"""Pruning driven step by step, with compressors that only write down what they are told."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import dense_net, randomize
from tf_metacompress import compress
from tf_metacompress.controller import PruningController
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.schedules import ConstantSparsity, PolynomialSparsity
from tf_metacompress.sparsity import measure_sparsity


class Spy:
    lacks_statistics = False

    def __init__(self, masks=("kernel",)):
        self.follows_schedule, self.fractions = bool(masks), []

    def update_masks(self, fraction):
        self.fractions.append(fraction)

    def complete_masks(self):
        self.fractions.append("complete")


def drive(schedule, steps):
    spy = Spy()
    controller = PruningController([spy], schedule)
    controller.on_train_begin()
    for step in steps:
        controller.on_step(step)
    return spy.fractions


def cubic(step, end):
    return 1 - (1 - step / end) ** 3


def test_masks_move_at_the_steps_of_the_schedule():
    schedule = PolynomialSparsity(end_step=10, frequency=4)
    expected = [0.0, cubic(4, 10), cubic(8, 10), 1.0]  # begin, steps 4, 8 and the end
    assert drive(schedule, range(20)) == pytest.approx(expected)
    assert drive(schedule, [None] * 20) == pytest.approx(expected)


def test_an_update_among_steps_that_were_left_out_is_made_up_for():
    schedule = PolynomialSparsity(end_step=10, frequency=3)
    got = drive(schedule, range(0, 20, 4))  # several steps in one execution
    assert got == pytest.approx([0.0, cubic(3, 10), cubic(6, 10), 1.0])


def test_the_same_step_twice_updates_once():
    assert drive(ConstantSparsity(frequency=1), [0, 0, 0, 1, 1]) == [1.0, 1.0]


def test_a_late_begin_starts_dense():
    schedule = ConstantSparsity(begin_step=3, frequency=100)
    assert drive(schedule, range(6)) == [0.0, 1.0]


def test_a_second_training_starts_over():
    spy = Spy()
    controller = PruningController([spy], PolynomialSparsity(end_step=2, frequency=1))
    for _ in range(2):
        controller.on_train_begin()
        controller.on_step()
        controller.on_step()
    assert spy.fractions == pytest.approx([0.0, cubic(1, 2)] * 2)


def test_the_end_completes_the_masks_however_many_steps_there_were():
    spy = Spy()
    controller = PruningController([spy], PolynomialSparsity(end_step=1000))
    controller.on_train_begin()
    controller.on_step()
    controller.finalize()
    assert spy.fractions == [0.0, "complete"]


def test_a_resumed_training_goes_on_where_it_was():
    spy = Spy()
    controller = PruningController([spy], PolynomialSparsity(end_step=10, frequency=4))
    controller.on_train_begin(step=6)
    for step in range(6, 12):
        controller.on_step(step)
    assert spy.fractions == pytest.approx([cubic(6, 10), cubic(8, 10), 1.0])
    controller.on_train_begin(step=6)
    for _ in range(6):
        controller.on_step()
    assert spy.fractions[3:] == pytest.approx([cubic(6, 10), cubic(8, 10), 1.0])


def test_what_has_no_masks_is_left_alone():
    spy = Spy(masks=())
    PruningController([spy], ConstantSparsity()).finalize()
    assert spy.fractions == []


def test_a_hand_written_training_loop():
    student = compress(randomize(dense_net()), Policy([Rule("*", sparsity=0.8, weight_bits=8)]))
    controller = PruningController(student.compressors, PolynomialSparsity(end_step=5, frequency=1))
    optimizer = keras.optimizers.Adam(0.01)
    x = tf.constant(np.random.default_rng(0).normal(size=(8, 12)), tf.float32)
    y = tf.constant([0, 1, 2, 0, 1, 2, 0, 1])
    losses, sparsities = [], []
    controller.on_train_begin()
    for _ in range(8):
        controller.on_step()
        with tf.GradientTape() as tape:
            predictions = student(x, training=True)
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, predictions))
        gradients = tape.gradient(loss, [v.value for v in student.trainable_variables])
        optimizer.apply(gradients, student.trainable_variables)
        losses.append(float(loss))
        sparsities.append(measure_sparsity(student).total)
    controller.finalize()
    assert sparsities == sorted(sparsities)
    assert sparsities[0] == 0.0 and sparsities[-1] == pytest.approx(0.8, abs=0.01)
    assert losses[-1] < losses[0]
