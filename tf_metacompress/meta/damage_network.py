"""Φ: predicts the damage of each action, as a correction of the prior.

Pure functions. The weights are a tuple of tensors, so that a gradient step makes new weights and
changes nothing. Φ is an ensemble of heads, whose weights are stacked along a first axis: their mean
is the prediction, their spread its uncertainty.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

Weights = tuple[tf.Tensor, ...]
_LARGEST_CORRECTION = 3.0


def init(
    num_features: int,
    hidden: Sequence[int] = (32, 32),
    seed: int | Sequence[int] = 0,
    dtype: str = "float32",
) -> Weights:
    """Makes an untrained head of Φ, which predicts the prior.

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


def init_heads(
    num_features: int, hidden: Sequence[int], num_heads: int, seed: int = 0, dtype: str = "float32"
) -> Weights:
    """Makes an untrained ensemble, whose heads differ in their hidden weights.

    Paper: Lakshminarayanan, Pritzel, Blundell 2017, arXiv:1612.01474.

    Args:
        num_features: Features of one action on one layer.
        hidden: Units of the hidden layers.
        num_heads: Heads, at least 1.
        seed: Seed of all of them.
        dtype: Floating dtype of the weights.

    Returns:
        What `init` gives, each tensor with an axis of heads in front.
    """
    heads = [init(num_features, hidden, (seed, head), dtype) for head in range(num_heads)]
    return tuple(tf.stack(tensors) for tensors in zip(*heads, strict=True))


def correct(weights: Weights, features: tf.Tensor) -> tf.Tensor:
    """Computes the logarithm of the factor on the prior, within ±3.

    Args:
        weights: Of one head, or of several stacked.
        features: Shape (layers, actions, features).

    Returns:
        Shape (layers, actions), or (heads, layers, actions).
    """
    x = features
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = tf.tanh(_dense(x, kernel, bias))
    correction = _dense(x, *weights[-2:])[..., 0]
    return _LARGEST_CORRECTION * tf.tanh(correction / _LARGEST_CORRECTION)


def _dense(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.matmul(x, kernel[..., None, :, :]) + bias[..., None, None, :]


def apply(weights: Weights, features: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    """Predicts the damage that each head sees: `prior · exp(correction)`.

    Args:
        weights: Of one head, or of several stacked.
        features: Shape (layers, actions, features).
        prior: Prior damage, shape (layers, actions), non-negative.

    Returns:
        Damage, shape (layers, actions), or (heads, layers, actions); in the unit of the prior.

    Example:
        >>> prior = tf.constant([[0.1, 0.4]])
        >>> bool(tf.reduce_all(apply(init(5), tf.ones([1, 2, 5]), prior) == prior))
        True
    """
    return prior * tf.exp(correct(weights, features))


def mean_damage(
    weights: Weights,
    features: tf.Tensor,
    prior: tf.Tensor,
    head_weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Predicts the damage on which the heads agree: the geometric mean of what they say.

    Args:
        weights: Of one head, or of several stacked.
        features: Shape (layers, actions, features).
        prior: Prior damage, shape (layers, actions), non-negative.
        head_weights: Say of each head, shape (heads,) or (1,), not all zero; None for equal ones.

    Returns:
        Damage, shape (layers, actions).

    Example:
        >>> phi = init_heads(5, (4,), num_heads=3)
        >>> mean_damage(phi, tf.ones([1, 2, 5]), tf.constant([[0.25, 0.5]])).numpy().tolist()
        [[0.25, 0.5]]
    """
    correction = correct(weights, features)
    if correction.shape.rank == 2:
        return prior * tf.exp(correction)
    if head_weights is None:
        return prior * tf.exp(tf.reduce_mean(correction, axis=0))
    share = tf.cast(head_weights, correction.dtype) * tf.ones_like(correction[:, 0, 0])
    share = share / tf.reduce_sum(share)
    return prior * tf.exp(tf.tensordot(share, correction, 1))


def predict(
    weights: Weights, features: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts damage and how sure Φ is of it, in float64.

    Args:
        weights: Of one head, or of several stacked.
        features: Shape (layers, actions, features).
        prior: Prior damage, shape (layers, actions), non-negative.

    Returns:
        Mean and standard deviation over the heads, each float64 of shape (layers, actions).

    Example:
        >>> mean, deviation = predict(init(5), np.ones((1, 2, 5)), np.array([[0.1, 0.4]]))
        >>> mean.tolist(), deviation.tolist()
        ([[0.1, 0.4]], [[0.0, 0.0]])
    """
    weights = tuple(tf.cast(tensor, tf.float64) for tensor in weights)
    features, prior = tf.constant(features, tf.float64), tf.constant(prior, tf.float64)
    mean = mean_damage(weights, features, prior).numpy()
    heads = apply(weights, features, prior).numpy().reshape((-1, *mean.shape))
    return mean, np.sqrt(np.mean(np.square(heads - mean), axis=0))
