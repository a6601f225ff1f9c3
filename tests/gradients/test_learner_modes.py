"""The meta-gradient eagerly, in a graph and under XLA is one and the same, to 1e-5 in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.gradients.meta_objectives import Objective, distance, learner_on, make_episode
from tf_metacompress.meta import MAML, FirstOrderMAML, MetaCurvature, MetaSGD, Reptile
from tf_metacompress.policy import Policy, Rule

layers = keras.layers
POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8), Rule("conv", weight_bits=4)])
CLOSE = 1e-5


def net():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ]
    )


def objective_of(kind, policy=None, inner_steps=2):
    learner = learner_on(
        kind, net(), inner_steps=inner_steps, inner_lr=0.1, policy=policy, batch_norm="support"
    )
    episode = make_episode((6, 6, 1), dtype="float32")
    if policy is not None:
        weights, _ = learner.read()
        learner.network.observe(weights, episode.support_x, 6, 0.0)
    return Objective(learner, episode, learner.phase(0))


def compiled(objective, jit_compile):
    learner, episode = objective.learner, objective.episode

    @tf.function(jit_compile=jit_compile, autograph=False)
    def gradients():
        weights, extras = learner.read()
        loss = learner.compiled.loss
        return learner.task_gradient(loss, weights, extras, episode, objective.phase).gradients

    return [np.asarray(gradient) for gradient in gradients()]


KINDS = [MAML, FirstOrderMAML, MetaSGD, MetaCurvature, Reptile]


@pytest.mark.parametrize(
    ("kind", "policy"),
    [(MAML, POLICY)]
    + [pytest.param(kind, None, marks=pytest.mark.slow) for kind in KINDS]
    + [pytest.param(kind, POLICY, marks=pytest.mark.slow) for kind in KINDS[1:]],
)
def test_a_graph_computes_what_eager_execution_does(kind, policy):
    objective = objective_of(kind, policy, inner_steps=1)
    assert distance(compiled(objective, False), objective.gradients()) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("policy", [None, POLICY], ids=["float", "compressed"])
def test_xla_computes_what_eager_execution_does(policy):
    objective = objective_of(MAML, policy, inner_steps=1)
    assert distance(compiled(objective, True), objective.gradients()) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("policy", [None, POLICY], ids=["float", "compressed"])
def test_a_learner_trains_under_xla_as_in_a_graph(policy):
    from tests.meta.learners.problems import everything, sampler

    found = []
    for jit_compile in (False, True):
        learner = MAML(net_of_features(), inner_lr=0.1, policy=policy)
        learner.compile("sgd", meta_batch_size=2, jit_compile=jit_compile)
        learner.fit(sampler(), meta_steps=2, verbose=0)
        found.append(everything(learner))
    for graph, xla in zip(*found, strict=True):
        np.testing.assert_allclose(xla, graph, rtol=1e-4, atol=1e-5)


def net_of_features():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, activation="tanh", name="conv"),
            layers.Dense(3, name="head"),
        ]
    )
