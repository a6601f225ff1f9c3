"""Small tasks and nets for meta-learners to learn."""

import keras
import numpy as np

from tests.small_models import randomize
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.tasks import ClassArrays, NWayKShot

layers = keras.layers
SPARSE_INT8 = Policy([Rule("*", sparsity=0.5, weight_bits=8)])
FEATURES = 4
WAYS = 3


def class_source(shape=(FEATURES,), classes=6, examples=8, seed=0):
    """Classes around centres of their own, so that there is something to learn."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), examples)
    centres = generator.normal(size=(classes, *shape))
    x = centres[y] + 0.3 * generator.normal(size=(len(y), *shape))
    return ClassArrays(x.astype("float32"), y)


def sampler(shape=(FEATURES,), seed=0, shots=2, queries=3):
    return NWayKShot(class_source(shape), WAYS, shots, queries, seed=seed)


def dense_net():
    return randomize(
        keras.Sequential(
            [
                keras.Input((FEATURES,)),
                layers.Dense(6, activation="tanh", name="hidden"),
                layers.Dense(WAYS, name="head"),
            ],
            name="dense_net",
        )
    )


IMAGE = (6, 6, 1)


def normalised_net():
    return randomize(
        keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.Conv2D(4, 3, use_bias=False, name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="relu"),
                layers.Flatten(),
                layers.Dense(WAYS, name="head"),
            ],
            name="normalised_net",
        )
    )


class CountedSampler:
    """Notes which tasks were asked for."""

    def __init__(self, inner):
        self.inner = inner
        self.seed = inner.seed
        self.asked = []

    def __call__(self, index):
        self.asked.append(index)
        return self.inner(index)


def everything(learner):
    """All numbers that a meta-training leaves behind."""
    optimizer = learner.compiled.optimizer
    variables = [*learner.model.variables, *learner.extras, *optimizer.variables]
    return [np.asarray(variable).copy() for variable in variables]


def check_equal(first, second):
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=str(index))
