"""Φ learned by regression: which of two policies does a model recover from better?"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int, check_positive, invalid
from tf_metacompress.meta import damage_network
from tf_metacompress.meta.features import NUM_FEATURES, without_support
from tf_metacompress.meta.inner_loop import Tensors
from tf_metacompress.meta.outcomes import Outcomes
from tf_metacompress.meta.variety import bootstrap_weights
from tf_metacompress.progress import progress

_LARGEST_LOSS, _LARGEST_GAP = 3.0, 1.0
_SHARPNESS = 3.0
_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True)
class Regression:
    """How Φ is fitted to measured outcomes.

    Attributes:
        num_steps: Steps of Adam.
        learning_rate: Their length.
        batch_size: Tasks in each.
        penalty: Weight of the mean squared correction, which holds Φ to the prior.
        seed: Seed of the batches.

    Raises:
        InvalidArgumentError: If a value is out of its range.
    """

    num_steps: int = 300
    learning_rate: float = 3e-3
    batch_size: int = 24
    penalty: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("num_steps", self.num_steps, minimum=1)
        check_int("batch_size", self.batch_size, minimum=1)
        check_positive("learning_rate", self.learning_rate)
        check_int("seed", self.seed, minimum=0)


def ranking_loss(
    damage: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, sharpness: tf.Tensor
) -> tf.Tensor:
    """Logistic loss of every pair of policies, weighted by how much better one of them is.

    Only the order of policies on one model and budget is learned, so no scale of losses or damages
    has to carry over from model to model.

    Paper: Burges et al. 2005, "Learning to rank using gradient descent", ICML.

    Args:
        damage: Predicted damage of each policy, shape (tasks, policies), positive.
        losses: Measured loss of each, of the same shape.
        known: 1 where a policy was measured, else 0.
        sharpness: Slope of the logistic function over the logarithm of damage.

    Returns:
        Shape (tasks,), each at least 0.

    Example:
        >>> one = tf.ones([1, 2])
        >>> right = ranking_loss(tf.constant([[1.0, 9.0]]), tf.constant([[0.2, 0.7]]), one, 1.0)
        >>> wrong = ranking_loss(tf.constant([[9.0, 1.0]]), tf.constant([[0.2, 0.7]]), one, 1.0)
        >>> bool(right[0] < wrong[0])
        True
    """
    logs = tf.math.log(damage + _LEAST)
    gap = losses[:, :, None] - losses[:, None, :]
    apart = logs[:, :, None] - logs[:, None, :]
    weight = tf.minimum(tf.abs(gap), _LARGEST_GAP) * known[:, :, None] * known[:, None, :]
    each = weight * tf.nn.softplus(-tf.sign(gap) * apart * sharpness)
    return tf.reduce_sum(each, [1, 2]) / (tf.reduce_sum(weight, [1, 2]) + _LEAST)


@dataclass(frozen=True)
class _Padded:
    """Outcomes of tasks of any size as tensors; what is missing has no prior and is not known."""

    features: tf.Tensor
    blind: tf.Tensor
    prior: tf.Tensor
    informed: tf.Tensor
    losses: tf.Tensor
    known: tf.Tensor

    @classmethod
    def of(cls, outcomes: Sequence[Outcomes]) -> "_Padded":
        most_policies = max(len(each.losses) for each in outcomes)
        most_layers = max(each.prior.shape[1] for each in outcomes)
        shape = (len(outcomes), most_policies, most_layers)
        features = np.zeros((*shape, NUM_FEATURES), "f4")
        prior, informed = np.zeros(shape, "f4"), np.zeros(shape, "f4")
        losses, known = np.zeros(shape[:2], "f4"), np.zeros(shape[:2], "f4")
        for task, each in enumerate(outcomes):
            policies, layers = each.prior.shape
            features[task, :policies, :layers] = each.features
            prior[task, :policies, :layers] = each.prior
            informed[task, :policies, :layers] = each.informed
            finite = np.nan_to_num(each.losses, nan=_LARGEST_LOSS, posinf=_LARGEST_LOSS)
            losses[task, :policies] = np.minimum(finite, _LARGEST_LOSS)
            known[task, :policies] = 1.0
        arrays = (features, without_support(features), prior, informed, losses, known)
        return cls(*map(tf.constant, arrays))

    def some(self, tasks: np.ndarray, knows_support: bool) -> tuple[tf.Tensor, ...]:
        form = (self.features, self.informed) if knows_support else (self.blind, self.prior)
        chosen = (*form, self.losses, self.known)
        return tuple(tf.gather(tensor, tasks) for tensor in chosen)


def learn_from_outcomes(
    phi: Tensors, outcomes: Sequence[Outcomes], settings: Regression, *, quiet: bool = True
) -> Tensors:
    """Fits Φ to the order in which policies turned out.

    Each head learns from a bootstrap sample of the tasks. Half of the steps do not see what the
    support set tells, which `propose` may be without.

    Args:
        phi: Weights of Φ to begin with, heads stacked.
        outcomes: One a task.
        settings: How it is fitted.
        quiet: Without a progress bar.

    Returns:
        New weights of Φ.

    Raises:
        InvalidArgumentError: If in no task one policy turned out better than another.
    """
    useful = [each for each in outcomes if each.informative]
    if not useful:
        raise invalid("Some policies must turn out better than others.", outcomes=len(outcomes))
    padded, generator = _Padded.of(useful), np.random.default_rng(settings.seed)
    num_heads = int(phi[0].shape[0])
    says = np.stack([bootstrap_weights(settings.seed, i, num_heads) for i in range(len(useful))])
    weights = [tf.Variable(tensor) for tensor in phi]
    log_sharpness = tf.Variable(np.log(_SHARPNESS).astype(np.float32))
    trained = [*weights, log_sharpness]
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(trained)

    @tf.function(reduce_retracing=True)
    def step(say: tf.Tensor, *batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = _loss(tuple(weights), say, batch, tf.exp(log_sharpness), settings.penalty)
        optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))

    for number in progress(range(settings.num_steps), description="fit outcomes", quiet=quiet):
        tasks = generator.permutation(len(useful))[: settings.batch_size]
        step(tf.constant(says[tasks], tf.float32), *padded.some(tasks, bool(number % 2)))
    return tuple(tf.convert_to_tensor(variable) for variable in weights)


def _loss(
    phi: Tensors, say: tf.Tensor, batch: Sequence[tf.Tensor], sharpness: tf.Tensor, penalty: float
) -> tf.Tensor:
    features, prior, losses, known = batch
    shape = tf.shape(prior)
    flat = tf.reshape(features, [shape[0], -1, NUM_FEATURES])
    corrections = damage_network.correct(phi, flat)
    share = tf.transpose(say / tf.reduce_sum(say, axis=1, keepdims=True))
    joint = tf.reshape(tf.reduce_sum(share[:, :, None] * corrections, axis=0), shape)
    damage = tf.reduce_sum(prior * tf.exp(joint), axis=-1)
    ranked = tf.reduce_mean(ranking_loss(damage, losses, known, sharpness))
    return ranked + penalty * tf.reduce_mean(tf.square(corrections))
