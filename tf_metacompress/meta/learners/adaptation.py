"""A Keras model adapted to a new task."""

import keras
import tensorflow as tf

from tf_metacompress.anatomy import copy_model
from tf_metacompress.meta.learners.algorithm import MOMENTUM, Algorithm
from tf_metacompress.meta.learners.batches import episode, support_tensors
from tf_metacompress.meta.learners.episode import Episode
from tf_metacompress.tasks import TaskSampler
from tf_metacompress.typing import ArrayPair


def adapted_model(learner: Algorithm, support: ArrayPair, inner_steps: int) -> keras.Model:
    """Adapts a learner's model to a support set.

    Statistics of the support set, where BatchNormalization uses them, become the moving statistics
    of the new model, so that it needs no support set any more.

    Args:
        learner: Whose weights to adapt; they stay as they are.
        support: Inputs and labels.
        inner_steps: Gradient steps.

    Returns:
        A new model of the kind of `learner.model`.
    """
    x, y = support_tensors(support, learner.network)
    run = learner.traced(("adapt", inner_steps), lambda: _run(learner, inner_steps))
    weights, statistics = run(x, y)
    model = copy_model(learner.model)
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    others = model.non_trainable_variables
    for index, value in statistics.items():
        others[int(index)].assign(value)
    return model


def calibrate(learner: Algorithm, sampler: TaskSampler, num_tasks: int) -> None:
    """Moves activation ranges and statistics to those of adapted weights.

    Args:
        learner: Whose network observes.
        sampler: Gives the tasks.
        num_tasks: How many to look at.
    """
    if not learner.network.observes:
        return
    look = learner.traced("look", lambda: tf.function(lambda drawn: _look(learner, drawn)))
    for index in range(num_tasks):
        look(episode(sampler, index, learner.network))


def _look(learner: Algorithm, drawn: Episode) -> None:
    start, extras = learner.read()
    weights = learner.adapted(learner.compiled.loss, start, extras, drawn, learner.inner_steps)
    x = tf.concat([drawn.support_x, drawn.query_x], 0)
    learner.network.observe(weights, x, drawn.support_x.shape[0], MOMENTUM)


def _run(learner: Algorithm, inner_steps: int) -> tf.types.experimental.PolymorphicFunction:
    loss = learner.compiled.loss
    network = learner.network

    @tf.function
    def run(x: tf.Tensor, y: tf.Tensor) -> tuple:
        start, extras = learner.read()
        weights = learner.adapted(loss, start, extras, Episode(x, y, x, y), inner_steps)
        return weights, network.statistics_at(weights, x)

    return run
