"""Moving statistics without their start, against the mean of the batches themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.meta.moving_statistics import momenta, without_start


@pytest.mark.parametrize(("momentum", "num_steps"), [(0.9, 1), (0.99, 25), (0.5, 3)])
def test_what_is_left_is_the_weighted_mean_of_the_batches(momentum, num_steps):
    generator = np.random.default_rng(num_steps)
    means = generator.normal(size=(num_steps, 4))
    start = generator.normal(size=4) * 100.0
    reached = start
    for mean in means:
        reached = momentum * reached + (1 - momentum) * mean
    weights = momentum ** np.arange(num_steps - 1, -1, -1)
    freed = without_start([tf.constant(start)], [tf.constant(reached)], {0: momentum}, num_steps)
    np.testing.assert_allclose(freed[0], weights @ means / weights.sum(), rtol=1e-8)


def test_the_statistics_of_a_model_are_found_and_nothing_else():
    norm = keras.layers.BatchNormalization(momentum=0.7, name="norm")
    layers = [keras.layers.Dense(3), norm, keras.layers.Dropout(0.5, seed=1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    found = momenta(model)
    names = {model.non_trainable_variables[index].path.split("/")[-1] for index in found}
    assert names == {"moving_mean", "moving_variance"}
    assert set(found.values()) == {0.7}


def test_before_the_first_step_nothing_changes():
    value = [tf.constant([2.0])]
    assert float(without_start(value, value, {0: 0.9}, 0)[0][0]) == 2.0
