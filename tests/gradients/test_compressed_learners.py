"""Meta-gradients through masks and rounding, in float64 against a surrogate's central differences.

A straight-through gradient is not the derivative of the rounded function, which has none. It is
that of the surrogate in which every rounding adds a constant: what it added when nothing was
perturbed. Those constants are recorded in one run and replayed in the others.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.gradients.meta_objectives import (
    Objective,
    central_difference,
    check_gradients,
    distance,
    learner_on,
    make_episode,
)
from tf_metacompress.meta import (
    ANIL,
    MAML,
    FirstOrderMAML,
    MAMLOptions,
    MetaCurvature,
    MetaSGD,
)
from tf_metacompress.meta.learners.algorithm import Phase
from tf_metacompress.ops import quantization
from tf_metacompress.ops.quantizers import affine, symmetric
from tf_metacompress.policy import Policy, Rule

pytestmark = pytest.mark.usefixtures("float64")
layers = keras.layers


class Surrogate:
    """Stands in for the roundings: notes what they add, then adds just that."""

    def __init__(self, monkeypatch):
        self.constants = []
        self.place = None
        within, rounding = affine.straight_through_within, quantization._round_within

        def add(x, value):
            return self.constant(value) + (x - self.constant(x))

        def add_inside(x, value, inside):
            inside = self.constant(inside)
            held = self.constant(x)
            return self.constant(value) + (tf.where(inside, x, held) - held)

        def add_in_range(num_bits):
            def rounded(x, low, high):
                # The largest value itself is inside, whatever float32 made of the range.
                inside = (x > low) & ((x - low) * (1.0 - 2.0**-20) < high - low)
                return add_inside(x, rounding(num_bits)(x, low, high), inside)

            return rounded

        assert within is symmetric.straight_through_within
        monkeypatch.setattr(quantization, "straight_through", add)
        for module in (affine, symmetric):
            monkeypatch.setattr(module, "straight_through_within", add_inside)
        monkeypatch.setattr(quantization, "_round_within", add_in_range)

    def constant(self, value):
        """What this place held in the recorded run; records it in that run."""
        if self.place is None:
            self.constants.append(tf.stop_gradient(value))
            return self.constants[-1]
        self.place += 1
        return self.constants[self.place - 1]

    def record(self, function, values):
        self.constants, self.place = [], None
        return function(values)

    def replay(self, function):
        """The function with all constants as recorded."""

        def replayed(values):
            self.place = 0
            result = function(values)
            assert self.place == len(self.constants)
            return result

        return replayed


def net():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(6.0, name="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


POLICIES = {
    "int8": Policy([Rule("*", weight_bits=8)]),
    "4 bits": Policy([Rule("*", weight_bits=4), Rule("head", weight_bits=8)]),
    "sparse int8": Policy([Rule("*", sparsity=0.5, weight_bits=8)]),
    "sparse": Policy([Rule("*", sparsity=0.5)]),
    "4:2 pattern and 4 bits": Policy(
        [Rule("conv", sparsity=0.5, weight_bits=4), Rule("hidden", weight_bits=4, sparsity=0.3)]
    ),
    "clipped": Policy([Rule("*", weight_bits=4, range_setting="mse")]),
    "affine": Policy([Rule("*", weight_bits=4, quantizer="affine")]),
}
LEARNERS = {
    "MAML": (MAML, {}),
    "ANIL": (ANIL, {}),
    "learned rates": (MAML, {"options": MAMLOptions(learn_inner_lr=True)}),
    "Meta-SGD": (MetaSGD, {}),
    "Meta-Curvature": (MetaCurvature, {}),
}


def compressed_objective(kind=MAML, policy=POLICIES["sparse int8"], inner_steps=1, **arguments):
    """A learner on a compressed net whose ranges were set by what passed through it."""
    learner = learner_on(
        kind, net(), policy=policy, inner_lr=0.2, inner_steps=inner_steps, spread=0.05, **arguments
    )
    for compressor in learner.network.compressors:
        compressor.update_masks()
    episode = make_episode((6, 6, 1))
    weights, _ = learner.read()
    x = tf.concat([episode.support_x, episode.query_x], 0)
    learner.network.observe(weights, x, len(episode.support_x), 0.0)
    return Objective(learner, episode)


def check_against_surrogate(objective, monkeypatch):
    got, values, rounded = objective.gradients(), objective.values, objective(objective.values)
    assert all(gradient.dtype == np.float64 for gradient in got)
    surrogate = Surrogate(monkeypatch)
    # The surrogate computes what the rounding does, where nothing is perturbed.
    assert surrogate.record(objective, values) == pytest.approx(rounded, rel=1e-12)
    assert len(surrogate.constants) > 0 or not objective.learner.network.ranges
    check_gradients(objective, number=1, function=surrogate.replay(objective), got=got)


FAST = ("sparse int8",)


def slow_but(fast, kinds):
    return [pytest.param(kind, marks=[pytest.mark.slow] * (kind not in fast)) for kind in kinds]


@pytest.mark.parametrize("kind", slow_but(FAST, POLICIES))
def test_the_gradient_through_a_policy_is_that_of_its_surrogate(kind, monkeypatch):
    check_against_surrogate(compressed_objective(policy=POLICIES[kind]), monkeypatch)


@pytest.mark.parametrize("kind", slow_but((), LEARNERS))
def test_every_learner_is_exact_through_masks_and_rounding(kind, monkeypatch):
    learner, arguments = LEARNERS[kind]
    objective = compressed_objective(learner, inner_steps=2, **arguments)
    check_against_surrogate(objective, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["batch", "support"])
def test_statistics_of_a_batch_are_exact_through_rounding(batch_norm, monkeypatch):
    objective = compressed_objective(batch_norm=batch_norm, inner_steps=2)
    check_against_surrogate(objective, monkeypatch)


@pytest.mark.slow
def test_three_inner_steps_are_exact_through_rounding(monkeypatch):
    check_against_surrogate(compressed_objective(inner_steps=3), monkeypatch)


@pytest.mark.slow
def test_a_wrong_gradient_would_be_found(monkeypatch):
    objective = compressed_objective()
    first_order = objective.gradients(Phase(first_order=True))
    surrogate = Surrogate(monkeypatch)
    surrogate.record(objective, objective.values)
    with pytest.raises(AssertionError, match="conv/kernel"):
        check_gradients(objective, number=1, function=surrogate.replay(objective), got=first_order)


@pytest.mark.parametrize("kind", FAST)
def test_second_order_is_not_first_order_through_compression(kind):
    objective = compressed_objective(policy=POLICIES[kind])
    second, first = objective.gradients(), objective.gradients(Phase(first_order=True))
    assert distance(first, second) > 0.05
    plain = learner_on(MAML, net(), inner_lr=0.2)
    assert distance(Objective(plain, objective.episode).gradients(), second) > 0.05


@pytest.mark.slow
def test_first_order_maml_is_the_gradient_at_the_adapted_weights(monkeypatch):
    objective = compressed_objective(FirstOrderMAML)
    learner, episode = objective.learner, objective.episode
    loss, (start, extras) = learner.compiled.loss, learner.read()
    got = objective.gradients(Phase(first_order=True))
    adapted = list(learner.adapted(loss, start, extras, episode, 1))

    def query_loss(weights):
        return float(loss.query(tuple(weights), episode)[0])

    surrogate = Surrogate(monkeypatch)
    surrogate.record(query_loss, adapted)
    replayed, generator = surrogate.replay(query_loss), np.random.default_rng(0)
    for index, gradient in enumerate(got):
        direction = generator.normal(size=gradient.shape)
        expected = central_difference(replayed, adapted, index, direction, 1e-5)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_pruned_weights_get_no_meta_gradient():
    """Neither in the inner nor in the outer step, so that they stay where they are."""
    objective = compressed_objective(policy=POLICIES["sparse"])
    got = dict(
        zip([v.path for v in objective.learner.variables], objective.gradients(), strict=True)
    )
    masks = {
        path: np.asarray(compressor.masks["kernel"])
        for compressor in objective.learner.network.compressors
        for path in got
        if path.startswith(f"{compressor.layer.name}/kernel") and compressor.masks
    }
    assert len(masks) >= 3
    for path, mask in masks.items():
        assert 0.0 < mask.mean() < 1.0
        assert not np.any(got[path][mask == 0.0]) and np.any(got[path][mask == 1.0])
