"""Φ: predicts the damage of each action, as a correction of the prior.

A pair of pure functions. The weights are a tuple of tensors, so that a gradient step makes new
weights and changes nothing.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

Weights = tuple[tf.Tensor, ...]
_LARGEST_CORRECTION = 3.0


def init(
    num_features: int, hidden: Sequence[int] = (32, 32), seed: int = 0, dtype: str = "float32"
) -> Weights:
    """Makes an untrained Φ, which predicts the prior.

    Args:
        num_features: Features of one action on one layer.
        hidden: Units of the hidden layers.
        seed: Seed of the hidden weights; the last layer starts at zero.
        dtype: Floating dtype of the weights.

    Returns:
        Kernel and bias of each layer in turn.
    """
    generator = np.random.default_rng(seed)
    sizes = [num_features, *hidden]
    weights = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        kernel = generator.normal(scale=fan_in**-0.5, size=(fan_in, fan_out))
        weights += [tf.constant(kernel, dtype), tf.zeros([fan_out], dtype)]
    return (*weights, tf.zeros([sizes[-1], 1], dtype), tf.zeros([1], dtype))


def apply(weights: Weights, features: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    """Predicts damage: `prior · exp(correction)`, the correction within ±3.

    Args:
        weights: From `init`, or trained.
        features: Shape (layers, actions, features).
        prior: Prior damage, shape (layers, actions), non-negative.

    Returns:
        Damage, shape (layers, actions); its unit is that of the prior.

    Example:
        >>> prior = tf.constant([[0.1, 0.4]])
        >>> bool(tf.reduce_all(apply(init(5), tf.ones([1, 2, 5]), prior) == prior))
        True
    """
    x = features
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = tf.tanh(tf.tensordot(x, kernel, 1) + bias)
    correction = tf.tensordot(x, weights[-2], 1)[..., 0] + weights[-1][0]
    limit = _LARGEST_CORRECTION
    return prior * tf.exp(limit * tf.tanh(correction / limit))
