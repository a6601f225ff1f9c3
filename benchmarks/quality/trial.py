"""The short evaluation that all methods share: a few steps under a policy, then the loss."""

import time

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import classification_loss, describe, kernel_arrays
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.ops import fake_quantize_weights

NUM_STEPS, BATCH = 25, 128
_RATE, _BETA1, _BETA2, _EPSILON = 2e-3, 0.9, 0.999, 1e-7


class ShortTrial:
    """Fine-tunes a model for 25 steps under a policy and gives the loss on the query set.

    Compiled once; sparsity and bits are arguments. BatchNormalization stands on its inference
    statistics, the steps are Adam's on 128 support examples each.

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

    def _outputs(self, theta, masks, coarse, x):
        values = list(theta)
        for row, (_, _, place, axis) in enumerate(self._places):
            four, eight = (fake_quantize_weights(values[place], bits, axis) for bits in (4, 8))
            values[place] = masks[row] * (coarse[row] * four + (1.0 - coarse[row]) * eight)
        others = [tf.convert_to_tensor(v) for v in self.model.non_trainable_variables]
        return self.model.stateless_call(values, others, x, training=False)[0]

    def _trial(self, masks, coarse):
        theta = [tf.convert_to_tensor(v) for v in self.model.trainable_variables]
        first, second = ([tf.zeros_like(v) for v in theta] for _ in range(2))
        x, y = self.support
        size = tf.shape(x)[0]
        for step in tf.range(NUM_STEPS):
            rows = tf.math.floormod(step * BATCH + tf.range(BATCH), size)
            with tf.GradientTape() as tape:
                tape.watch(theta)
                outputs = self._outputs(theta, masks, coarse, tf.gather(x, rows))
                value = self.loss(tf.gather(y, rows), outputs)
            slopes = tape.gradient(value, theta, unconnected_gradients="zero")
            t = tf.cast(step + 1, tf.float32)
            rate = _RATE * tf.sqrt(1.0 - _BETA2**t) / (1.0 - _BETA1**t)
            first = [_BETA1 * m + (1 - _BETA1) * g for m, g in zip(first, slopes, strict=True)]
            second = [_BETA2 * v + (1 - _BETA2) * g**2 for v, g in zip(second, slopes, strict=True)]
            theta = [
                w - rate * m / (tf.sqrt(v) + _EPSILON)
                for w, m, v in zip(theta, first, second, strict=True)
            ]
        return self.loss(self.query[1], self._outputs(theta, masks, coarse, self.query[0]))


def _mask(magnitudes, sparsity):
    removed = min(round(sparsity * magnitudes.size), magnitudes.size - 1)
    mask = np.ones(magnitudes.size, np.float32)
    mask[np.argsort(magnitudes, axis=None, kind="stable")[:removed]] = 0.0
    return mask.reshape(magnitudes.shape)


def clear():
    """Frees what earlier models left in the process."""
    keras.backend.clear_session()
