"""The optimizer of the short trials, against Keras's own."""

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.meta.trials import adam_state, adam_step


def test_a_step_of_adam_is_the_step_of_keras():
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape).astype("float32") for shape in ((3, 2), (4,))]
    variables = [keras.Variable(value) for value in start]
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)
    state = adam_state([tf.constant(value) for value in start])
    for scale in (1.0, 1e-3, 100.0, 0.0):
        gradients = [tf.constant(scale * generator.normal(size=v.shape), "float32") for v in start]
        optimizer.apply(gradients, variables)
        state = adam_step(state, gradients, 2e-3)
        for found, expected in zip(state[0], variables, strict=True):
            np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=1e-7)
