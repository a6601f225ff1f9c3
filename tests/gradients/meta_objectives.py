"""The meta-objective of a learner as a plain function of numbers, to take differences of."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tests.small_models import randomize
from tf_metacompress.meta.learners.algorithm import Phase
from tf_metacompress.meta.learners.episode import Episode

CLASSES = 3
STEP = 1e-5
FINAL = Phase()


def crossentropy(y, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


def make_episode(input_shape, support=6, query=7, seed=3, integers=0, dtype="float64"):
    """A task of random inputs; token indices below `integers` if that is not 0."""
    generator = np.random.default_rng(seed)
    shape = (support + query, *input_shape)
    x = generator.integers(0, integers, shape) if integers else generator.normal(size=shape)
    y = generator.integers(0, CLASSES, support + query)
    x = tf.constant(x, tf.int32 if integers else dtype)
    y = tf.constant(y, tf.int32)
    return Episode(x[:support], y[:support], x[support:], y[support:])


def learner_on(kind, model, *, loss=crossentropy, spread=0.0, **arguments):
    """A compiled learner on a model with random weights; `spread` moves its extras off their start.

    An extra that is equal everywhere would hide a transposition or a mix-up.
    """
    learner = kind(randomize(model), **arguments).compile("sgd", loss)
    generator = np.random.default_rng(5)
    for extra in learner.extras:
        extra.assign(extra + spread * generator.normal(size=extra.shape))
    return learner


@dataclass(frozen=True)
class Objective:
    """What a learner minimises on one task, computed forwards only."""

    learner: object
    episode: Episode
    phase: Phase = FINAL

    def __call__(self, values):
        """The objective at given weights and extras, in the order of `learner.variables`."""
        learner, loss = self.learner, self.learner.compiled.loss
        number = len(learner.network.weights)
        start, extras = tuple(values[:number]), tuple(values[number:])

        def query_loss(inner_steps):
            weights = learner.adapted(loss, start, extras, self.episode, inner_steps)
            return loss.query(weights, self.episode)[0]

        last = learner.inner_steps
        if not self.phase.multi_step:
            return float(query_loss(last))
        share = (1.0 - self.phase.progress) / last
        earlier = sum(float(query_loss(step)) for step in range(1, last))
        return share * earlier + (1.0 - share * (last - 1)) * float(query_loss(last))

    @property
    def values(self):
        weights, extras = self.learner.read()
        return [*weights, *extras]

    def gradients(self, phase=None):
        """What the learner says the gradient is."""
        weights, extras = self.learner.read()
        found = self.learner.task_gradient(
            self.learner.compiled.loss, weights, extras, self.episode, phase or self.phase
        )
        return [np.asarray(tf.convert_to_tensor(gradient)) for gradient in found.gradients]


def central_difference(function, values, index, direction, step):
    """Derivative of a function of several arrays along a direction in one of them."""

    def shifted(sign):
        moved = values[index] + tf.cast(sign * step * direction, values[index].dtype)
        return function([*values[:index], moved, *values[index + 1 :]])

    return (shifted(1.0) - shifted(-1.0)) / (2.0 * step)


def directions(shape, number, seed):
    """Random directions, or all axes where there are no more than `number`."""
    size = int(np.prod(shape))
    if size <= number:
        return list(np.eye(size).reshape(size, *shape))
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape) / np.sqrt(size) for _ in range(number)]


def check_gradients(objective, number=2, function=None, got=None, rtol=1e-6, atol=1e-8):
    """Compares every gradient of a learner with central differences along some directions.

    A wrong entry anywhere in a tensor shows along a random direction with probability one.
    """
    got, values = got or objective.gradients(), objective.values
    largest = max(np.abs(gradient).max() for gradient in got)
    assert largest > 1e-4, "nothing to compare"
    for index, gradient in enumerate(got):
        name = objective.learner.variables[index].path
        for position, direction in enumerate(directions(gradient.shape, number, 11 + index)):
            expected = central_difference(function or objective, values, index, direction, STEP)
            found = float(np.sum(gradient * direction))
            np.testing.assert_allclose(
                found,
                expected,
                rtol=rtol,
                atol=atol * max(1.0, largest),
                err_msg=f"{name} {position}",
            )


def distance(first, second):
    """Relative distance of two lists of arrays."""
    flat = [np.concatenate([np.ravel(array) for array in arrays]) for arrays in (first, second)]
    return np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1])
