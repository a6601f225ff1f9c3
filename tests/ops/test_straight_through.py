"""The straight-through estimator: its value, and its derivatives of both orders."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tf_metacompress.ops import straight_through

VALUES = hnp.arrays(
    np.float32, (5,), elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
)


@given(VALUES, VALUES)
def test_the_value_is_returned_bit_for_bit(x, value):
    np.testing.assert_array_equal(straight_through(tf.constant(x), tf.constant(value)), value)


def test_the_gradient_goes_to_x_alone():
    x, value = tf.constant([0.4, 1.6]), tf.constant([7.0, -3.0])
    with tf.GradientTape() as tape:
        tape.watch([x, value])
        y = tf.reduce_sum(straight_through(x, value) ** 3)
    to_x, to_value = tape.gradient(y, [x, value])
    np.testing.assert_allclose(to_x, 3 * np.square([7.0, -3.0]))
    assert to_value is None


def test_the_second_derivative_is_that_of_what_follows():
    x = tf.constant([0.4, 1.6])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(straight_through(x, tf.round(x)) ** 3)
        first = inner.gradient(y, x)
    np.testing.assert_allclose(outer.gradient(first, x), 6 * np.round([0.4, 1.6]))
