"""The meta-gradient through the whole inner loop, against float64 central differences.

Rounding makes finite differences meaningless, so the actions here prune only and the activations
are smooth: the relaxed masks, the choice with its solved multiplier and the inner steps remain.
"""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.problems import FLOAT_DEVICE, budget_between
from tests.small_models import randomize
from tf_metacompress.meta import InnerLoop, damage_network, meta_gradient
from tf_metacompress.meta.features import NUM_FEATURES
from tf_metacompress.meta.inner_loop import adapt
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.ops import solve_multiplier
from tf_metacompress.policy import action_grid
from tf_metacompress.tasks import Task

layers = keras.layers
PRUNING = action_grid((0.0, 0.25, 0.5, 0.75, 0.9), (32,))
ROUNDING = action_grid((0.0, 0.25, 0.5, 0.75, 0.9), (4, 8))
LOOP = InnerLoop(inner_steps=2, inner_lr=(0.5, 0.3), clip_norm=1e6)
ONE_STEP = replace(LOOP, inner_steps=1)
CLIPPED = replace(ONE_STEP, clip_norm=0.05)
TEMPERATURE = 0.2


def dense_model():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="tanh", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


def convolutional_model():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("softplus"),
            layers.DepthwiseConv2D(3, activation="tanh", name="depthwise"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="head"),
        ]
    )


def crossentropy(y, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


class Case:
    """A task in float64, a Φ that has learned something, and a batch."""

    def __init__(self, make, actions, device):
        model = randomize(make())
        generator = np.random.default_rng(3)
        x = generator.normal(size=(12, *model.input_shape[1:]))
        y = generator.integers(0, 3, 12)
        budget = budget_between(model, 0.35, actions, device)
        self.actions = actions
        self.task = Task(model, budget, device, support=(x[:6], y[:6]), loss=crossentropy)
        self.batch = tuple(map(tf.constant, (x[:6], y[:6], x[6:], y[6:])))
        phi = damage_network.init(NUM_FEATURES, (4,), dtype="float64")
        self.phi = tuple(w + tf.constant(generator.normal(0.0, 0.2, w.shape)) for w in phi)

        self._prepared, self._results = {}, {}

    def prepare(self, loop):
        if loop not in self._prepared:
            compiler = TaskCompiler(self.actions, TEMPERATURE, loop)
            self._prepared[loop] = compiler.prepare(self.task)
        return self._prepared[loop]

    def results(self, loop):
        """Flat meta-gradient, support loss and query loss, computed once a loop."""
        if loop not in self._results:
            gradients, *losses = self.prepare(loop).gradient(self.phi, self.batch)
            self._results[loop] = (flat(gradients), *losses)
        return self._results[loop]


@pytest.fixture(scope="module", autouse=True)
def _float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@functools.cache
def case_of(make, actions, device):
    """Made once in a process, since tracing is what takes the time here."""
    return Case(make, actions, device)


@pytest.fixture(params=[dense_model, convolutional_model])
def case(request):
    return case_of(request.param, PRUNING, FLOAT_DEVICE)


@pytest.fixture
def dense_case():
    return case_of(dense_model, PRUNING, FLOAT_DEVICE)


@pytest.fixture
def convolutional_case():
    return case_of(convolutional_model, PRUNING, FLOAT_DEVICE)


@pytest.fixture
def rounding_case():
    return case_of(dense_model, ROUNDING, "android-arm64")


def query_loss_function(prepared, batch, loop):
    """The query loss after the inner loop as a function of Φ, flat; nothing is differentiated."""
    shapes = [weight.shape for weight in damage_network.init(NUM_FEATURES, (4,))]

    @tf.function
    def query_loss(values):
        parts = tf.split(values, [shape.num_elements() for shape in shapes])
        phi = tuple(tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True))
        adapted, _ = adapt(loop, prepared.loss, (phi, prepared.theta), *batch[:2])
        return prepared.loss(adapted, *batch[2:])

    return query_loss


def central_differences(function, x, directions=None, step=1e-5):
    """Derivatives of a function along the rows of `directions`; along each axis by default."""
    steps = step * (np.eye(x.size) if directions is None else directions)
    return np.array([(float(function(x + s)) - float(function(x - s))) / (2 * step) for s in steps])


def flat(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


def check_against_central_differences(case, loop):
    function = query_loss_function(case.prepare(loop), case.batch, loop)
    phi = flat(case.phi)
    # A wrong entry anywhere shows in almost every random direction.
    directions = np.random.default_rng(5).normal(size=(16, phi.size))
    expected = central_differences(function, phi, directions)
    gradient = case.results(loop)[0]
    assert gradient.dtype == np.float64
    got = directions @ gradient
    scale = np.abs(expected).max()
    assert scale > 1e-4
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6 * scale)


def test_the_meta_gradient_equals_central_differences(dense_case):
    check_against_central_differences(dense_case, LOOP)


@pytest.mark.slow
def test_the_meta_gradient_goes_through_the_shortening_of_inner_gradients(convolutional_case):
    check_against_central_differences(convolutional_case, CLIPPED)


def test_the_budget_is_active_so_the_multiplier_is_in_play(case):
    prepared = case.prepare(LOOP)
    tensors = prepared.tensors
    damage = damage_network.apply(case.phi, tensors.features, tensors.prior)
    multiplier = solve_multiplier(damage, tensors.cost, 1.0, TEMPERATURE, tensors.mask)
    assert float(multiplier) > 1e-3
    choice = prepared.relaxed.choice(case.phi, tensors).numpy()
    np.testing.assert_allclose(np.sum(choice * tensors.cost), 1.0, rtol=1e-9)
    assert choice.max(axis=1).min() < 0.95


def check_second_order_matters(case, loop):
    second, first = case.results(loop)[0], case.results(replace(loop, first_order=True))[0]
    assert np.isfinite(second).all() and np.linalg.norm(second) > 1e-4
    assert np.linalg.norm(second - first) > 0.05 * np.linalg.norm(second)


def test_second_order_is_not_first_order(dense_case):
    check_second_order_matters(dense_case, LOOP)


@pytest.mark.slow
def test_second_order_is_not_first_order_through_rounding(rounding_case):
    check_second_order_matters(rounding_case, ONE_STEP)


def test_the_compiled_step_equals_the_eager_one(dense_case):
    prepared = dense_case.prepare(LOOP)
    gradients, support, query = dense_case.results(LOOP)
    args = (prepared.loss, dense_case.phi, prepared.theta, dense_case.batch)
    eager = meta_gradient(LOOP, *args)
    np.testing.assert_allclose(gradients, flat(eager[0]), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose([support, query], eager[1:], rtol=1e-10)


def test_one_inner_step_by_hand(dense_case):
    """φ' = φ − α ∇φ L and θ' = θ − β ∇θ L, the gradients by central differences in θ's head."""
    case, loop = dense_case, ONE_STEP
    prepared = case.prepare(loop)
    x, y = case.batch[:2]
    (phi, theta), losses = adapt(loop, prepared.loss, (case.phi, prepared.theta), x, y)

    def loss_of_bias(bias):
        changed = (*prepared.theta[:-1], tf.constant(bias))
        return float(prepared.loss((case.phi, changed), x, y))

    bias = prepared.theta[-1].numpy()
    expected = bias - loop.inner_lr[1] * central_differences(loss_of_bias, bias)
    np.testing.assert_allclose(theta[-1], expected, rtol=1e-7)

    def loss_of_last(value):
        changed = (*case.phi[:-2], tf.constant(value[:, None]), case.phi[-1])
        return float(prepared.loss((changed, prepared.theta), x, y))

    last = case.phi[-2].numpy()[:, 0]
    expected = last - loop.inner_lr[0] * central_differences(loss_of_last, last)
    np.testing.assert_allclose(phi[-2][:, 0], expected, rtol=1e-6)
    assert float(losses[0]) == pytest.approx(loss_of_bias(bias))
