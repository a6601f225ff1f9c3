"""The short evaluation that all methods share: a few steps under a policy, then the loss."""

import time

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import classification_loss, describe, kernel_arrays
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.meta.moving_statistics import momenta, without_start
from tf_metacompress.meta.trials import (
    BATCH_SIZE,
    NUM_STEPS,
    adam_state,
    adam_step,
    falling_rate,
)
from tf_metacompress.ops import fake_quantize_weights


class ShortTrial:
    """Fine-tunes a model for a few steps under a policy and gives the loss on the query set.

    The same steps as those by which Φ chooses among its proposals, compiled once; sparsity and bits
    are arguments.

    Args:
        model: The trained model; it is not changed.
        support: Inputs and labels to take steps on.
        query: Inputs and labels to judge on.
    """

    def __init__(self, model, support, query):
        self.model = model
        self.support = tuple(tf.constant(part) for part in support)
        self.query = tuple(tf.constant(part) for part in query)
        self.loss = classification_loss(model)
        self.infos = describe(model)
        self.folded = kernel_arrays(model)
        self.count = 0
        self.seconds = 0.0
        self._run = tf.function(self._trial)
        self._places = self._find_kernels()

    def _find_kernels(self):
        place = {id(v): i for i, v in enumerate(self.model.trainable_variables)}
        layers = leaf_layers(self.model)
        return [
            (info.name, index, place[id(weight_of(layers[info.name], k.name))], k.channel_axis)
            for info in self.infos
            if info.compressible
            for index, k in enumerate(info.kernels)
        ]

    def __call__(self, policy):
        """The loss left under a policy."""
        start = time.perf_counter()
        plans = {plan.layer: plan for plan in policy.resolve(self.infos)}
        masks, coarse = [], []
        for name, index, _, _ in self._places:
            masks.append(_mask(np.abs(self.folded[name][index]), plans[name].sparsity))
            coarse.append(float(plans[name].weight_bits == 4))
        value = float(self._run([tf.constant(m) for m in masks], tf.constant(coarse)))
        self.count += 1
        self.seconds += time.perf_counter() - start
        return value if np.isfinite(value) else 1e6

    def _outputs(self, theta, others, masks, coarse, x, training):
        values = list(theta)
        for row, (_, _, place, axis) in enumerate(self._places):
            four, eight = (fake_quantize_weights(values[place], bits, axis) for bits in (4, 8))
            values[place] = masks[row] * (coarse[row] * four + (1.0 - coarse[row]) * eight)
        return self.model.stateless_call(values, others, x, training=training)

    def _trial(self, masks, coarse):
        adam = adam_state([tf.convert_to_tensor(v) for v in self.model.trainable_variables])
        start = tuple(tf.convert_to_tensor(v) for v in self.model.non_trainable_variables)
        others, (x, y) = start, self.support
        size = tf.shape(x)[0]
        for step in tf.range(NUM_STEPS):
            rows = tf.math.floormod(step * BATCH_SIZE + tf.range(BATCH_SIZE), size)
            theta = adam[0]
            with tf.GradientTape() as tape:
                tape.watch(theta)
                batch = tf.gather(x, rows)
                outputs, changed = self._outputs(theta, others, masks, coarse, batch, True)
                value = self.loss(tf.gather(y, rows), outputs)
            slopes = tape.gradient(value, theta, unconnected_gradients="zero")
            rate = falling_rate(tf.cast(step, tf.float32), NUM_STEPS)
            adam, others = adam_step(adam, slopes, rate), tuple(changed)
        others = without_start(start, others, momenta(self.model), NUM_STEPS)
        outputs, _ = self._outputs(adam[0], others, masks, coarse, self.query[0], False)
        return self.loss(self.query[1], outputs)


def _mask(magnitudes, sparsity):
    removed = min(round(sparsity * magnitudes.size), magnitudes.size - 1)
    mask = np.ones(magnitudes.size, np.float32)
    mask[np.argsort(magnitudes, axis=None, kind="stable")[:removed]] = 0.0
    return mask.reshape(magnitudes.shape)


def clear():
    """Frees what earlier models left in the process."""
    keras.backend.clear_session()
