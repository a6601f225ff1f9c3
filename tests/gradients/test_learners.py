"""Meta-gradients of every learner, in float64 against central differences and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.gradients.meta_objectives import (
    Objective,
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
    Reptile,
)
from tf_metacompress.meta.learners.algorithm import Phase
from tf_metacompress.meta.learners.episode import Episode

pytestmark = pytest.mark.usefixtures("float64")
layers = keras.layers
RATE = 0.3


def dense_model():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="tanh", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


def convolutional_model():
    return keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.Conv2D(3, 3, activation="tanh", name="conv"),
            layers.Conv2D(2, 2, activation="softplus", name="second"),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ]
    )


def objective_of(kind, inner_steps=1, make=dense_model, phase=None, spread=0.05, **arguments):
    model = make()
    learner = learner_on(
        kind, model, inner_steps=inner_steps, inner_lr=RATE, spread=spread, **arguments
    )
    return Objective(learner, make_episode(model.input_shape[1:]), phase or Phase())


SECOND_ORDER = {
    "MAML": (MAML, {}),
    "learned rates": (MAML, {"options": MAMLOptions(learn_inner_lr=True)}),
    "clipped": (MAML, {"options": MAMLOptions(inner_clip_norm=0.1)}),
    "ANIL": (ANIL, {}),
    "ANIL, other head": (ANIL, {"head": "hidden"}),
    "ANIL with learned rates": (ANIL, {"options": MAMLOptions(learn_inner_lr=True)}),
    "Meta-SGD": (MetaSGD, {}),
    "Meta-Curvature": (MetaCurvature, {}),
}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


FAST = ("MAML", "Meta-SGD")


@pytest.mark.parametrize("inner_steps", [1, slow(3)])
@pytest.mark.parametrize("kind", [kind if kind in FAST else slow(kind) for kind in SECOND_ORDER])
def test_a_second_order_gradient_equals_central_differences(kind, inner_steps):
    learner, arguments = SECOND_ORDER[kind]
    objective = objective_of(learner, inner_steps, **arguments)
    check_gradients(objective, number=2 if inner_steps == 1 else 1)
    assert distance(objective.gradients(Phase(first_order=True)), objective.gradients()) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MAML", "Meta-SGD", "Meta-Curvature"])
def test_kernels_of_convolutions_have_exact_meta_gradients(kind):
    learner, arguments = SECOND_ORDER[kind]
    check_gradients(objective_of(learner, 2, convolutional_model, **arguments), number=1)


@pytest.mark.parametrize("progress", [slow(0.0), 0.4, slow(1.0)])
def test_the_multi_step_loss_has_an_exact_gradient(progress):
    phase = Phase(multi_step=True, progress=progress)
    check_gradients(objective_of(MAML, 3, phase=phase), number=1)


def test_the_multi_step_loss_ends_as_the_last_loss_alone():
    done = objective_of(MAML, 3, phase=Phase(multi_step=True, progress=1.0))
    assert distance(done.gradients(), done.gradients(Phase())) < 1e-14
    begun = Phase(multi_step=True, progress=0.0)
    assert distance(done.gradients(begun), done.gradients(Phase())) > 0.01


def test_the_phases_of_training_follow_the_options():
    options = MAMLOptions(multi_step_loss_until=10, first_order_until=4)
    learner = objective_of(MAML, 2, options=options).learner
    assert learner.phase(0) == Phase(first_order=True, multi_step=True, progress=0.0)
    assert learner.phase(4) == Phase(first_order=False, multi_step=True, progress=0.4)
    assert learner.phase(10) == Phase()
    assert objective_of(MAML, 1, options=options).learner.phase(5).multi_step is False
    assert objective_of(FirstOrderMAML).learner.phase(0) == Phase(first_order=True)
    assert objective_of(ANIL).learner.phase(99) == Phase()


def test_an_inner_gradient_is_shortened_to_the_norm_of_the_option():
    options = MAMLOptions(inner_clip_norm=0.1)
    objective = objective_of(MAML, 1, options=options)
    learner, (start, extras) = objective.learner, objective.learner.read()
    after = learner.adapted(learner.compiled.loss, start, extras, objective.episode, 1)
    moved = np.concatenate([np.ravel(b - a) for a, b in zip(start, after, strict=True)])
    np.testing.assert_allclose(np.linalg.norm(moved), RATE * 0.1, rtol=1e-9)


class LeastSquares:
    """Linear regression without bias: every quantity of every learner has a closed form."""

    def __init__(self, seed=2):
        generator = np.random.default_rng(seed)
        self.x, self.v = generator.normal(size=(5, 3)), generator.normal(size=(8, 3))
        self.y, self.z = generator.normal(size=(5, 1)), generator.normal(size=(8, 1))
        self.episode = Episode(*map(tf.constant, (self.x, self.y, self.v, self.z)))
        self.hessian = 2.0 / 5 * self.x.T @ self.x

    def learner(self, kind, **arguments):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
        return learner_on(
            kind, model, loss="mse", inner_lr=0.1, inner_steps=2, spread=0.05, **arguments
        )

    def support_gradient(self, w):
        return 2.0 / 5 * self.x.T @ (self.x @ w - self.y)

    def query_gradient(self, w):
        return 2.0 / 8 * self.v.T @ (self.v @ w - self.z)

    def two_steps(self, w, matrix):
        """Weights after two steps w ← w − M g(w), the first gradient, and the Jacobian."""
        first = self.support_gradient(w)
        middle = w - matrix @ first
        jacobian = np.eye(3) - matrix @ self.hessian
        return middle - matrix @ self.support_gradient(middle), jacobian @ jacobian


@pytest.fixture
def problem():
    return LeastSquares()


def gradients_of(learner, problem, phase=None):
    return Objective(learner, problem.episode, phase or learner.phase(0)).gradients()


def test_maml_equals_its_closed_form(problem):
    learner = problem.learner(MAML)
    after, jacobian = problem.two_steps(np.asarray(learner.variables[0]), 0.1 * np.eye(3))
    expected = jacobian.T @ problem.query_gradient(after)
    np.testing.assert_allclose(gradients_of(learner, problem)[0], expected, rtol=1e-10)


def test_first_order_maml_equals_its_definition(problem):
    """The gradient of the query loss at the adapted weights."""
    learner = problem.learner(FirstOrderMAML)
    after, _ = problem.two_steps(np.asarray(learner.variables[0]), 0.1 * np.eye(3))
    expected = problem.query_gradient(after)
    np.testing.assert_allclose(gradients_of(learner, problem)[0], expected, rtol=1e-10)


def test_first_order_maml_is_the_gradient_at_the_adapted_weights_of_any_net():
    objective = objective_of(FirstOrderMAML, 3, phase=Phase(first_order=True))
    learner, episode = objective.learner, objective.episode
    loss, (start, extras) = learner.compiled.loss, learner.read()
    adapted = list(learner.adapted(loss, start, extras, episode, 3))
    got = objective.gradients()
    for index, gradient in enumerate(got):
        for direction in np.eye(gradient.size)[:6].reshape(-1, *gradient.shape):
            shifted = [
                [w + sign * 1e-5 * direction if i == index else w for i, w in enumerate(adapted)]
                for sign in (1.0, -1.0)
            ]
            up, down = (float(loss.query(tuple(w), episode)[0]) for w in shifted)
            found = float(np.sum(gradient * direction))
            np.testing.assert_allclose(found, (up - down) / 2e-5, rtol=1e-6, atol=1e-9)


def test_meta_sgd_equals_its_closed_form(problem):
    learner = problem.learner(MetaSGD)
    w, rates = (np.asarray(v) for v in learner.variables)
    after, jacobian = problem.two_steps(w, np.diag(rates[:, 0]))
    outer = problem.query_gradient(after)
    got = gradients_of(learner, problem)
    np.testing.assert_allclose(got[0], jacobian.T @ outer, rtol=1e-10)
    first = problem.support_gradient(w)
    second = problem.support_gradient(w - rates * first)
    one = np.eye(3) - np.diag(rates[:, 0]) @ problem.hessian
    expected = -(one @ np.diagflat(first) + np.diagflat(second)).T @ outer
    np.testing.assert_allclose(got[1], expected, rtol=1e-10)


def test_meta_curvature_multiplies_each_axis_by_its_matrix(problem):
    learner = problem.learner(MetaCurvature)
    w, rows, columns = (np.asarray(v) for v in learner.variables)
    assert rows.shape == (3, 3) and columns.shape == (1, 1)
    after, jacobian = problem.two_steps(w, 0.1 * columns[0, 0] * rows)
    expected = jacobian.T @ problem.query_gradient(after)
    np.testing.assert_allclose(gradients_of(learner, problem)[0], expected, rtol=1e-10)


@pytest.mark.parametrize("inner_batch_size", [4, 13, 20])
def test_reptile_equals_a_loop_by_hand(problem, inner_batch_size):
    """Batches are taken in turn from one order of all examples, none twice in a round."""
    learner = problem.learner(Reptile, inner_batch_size=inner_batch_size)
    w = start = np.asarray(learner.variables[0])
    x, y = np.concatenate([problem.x, problem.v]), np.concatenate([problem.y, problem.z])
    order = np.random.default_rng(0).permutation(13)
    visited = [order[i % 13] for i in range(2 * inner_batch_size)]
    for step in range(2):
        rows = visited[step * inner_batch_size : (step + 1) * inner_batch_size]
        residual = x[rows] @ w - y[rows]
        w = w - 0.1 * 2.0 / inner_batch_size * x[rows].T @ residual
    np.testing.assert_allclose(gradients_of(learner, problem)[0], start - w, rtol=1e-10)


def test_anil_moves_its_head_only_and_learns_everything():
    objective = objective_of(ANIL, 2)
    learner, (start, extras) = objective.learner, objective.learner.read()
    after = learner.adapted(learner.compiled.loss, start, extras, objective.episode, 2)
    same = [np.array_equal(a, b) for a, b in zip(start, after, strict=True)]
    assert same == [True, True, False, False]
    assert all(np.abs(gradient).max() > 1e-6 for gradient in objective.gradients())


@pytest.mark.parametrize("kind", [MetaSGD, MetaCurvature])
def test_before_learning_rates_and_matrices_are_those_of_maml(kind):
    plain = objective_of(MAML, 2, spread=0.0)
    other = objective_of(kind, 2, spread=0.0)
    number = len(plain.values)
    assert distance(other.gradients()[:number], plain.gradients()) < 1e-12
