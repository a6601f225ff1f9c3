"""What Φ is told, and what it believes before it has learned anything."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.meta.problems import budget_between
from tests.small_models import conv_net, dense_net, randomize, residual_net
from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.meta import damage_network
from tf_metacompress.meta.features import LAYER_FEATURES, NUM_FEATURES
from tf_metacompress.meta.prior import prior_damage, rounding_noise
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.policy import (
    DEFAULT_SPARSITIES,
    Action,
    Budget,
    KernelInfo,
    action_grid,
    allocate,
    distributions,
)

layers = keras.layers


def numpy_lamp_scores(kernel):
    """Straight from the paper: a square over the sum of all squares not smaller than it."""
    squares = np.sort(np.square(kernel, dtype=np.float64), axis=None)
    return np.array([squares[i] / squares[i:].sum() for i in range(squares.size)])


def test_the_prior_is_lamp_plus_rounding_noise():
    kernel = np.random.default_rng(0).normal(size=(5, 4))
    info = KernelInfo(name="kernel", shape=(5, 4), channel_axis=(1,))
    actions = [Action(0.0, 32), Action(0.5, 32), Action(0.0, 8), Action(0.95, 4)]
    scores = numpy_lamp_scores(kernel)
    noise = {}
    for bits in (4, 8):
        scale = np.abs(kernel).max(axis=0) / (2 ** (bits - 1) - 1)
        error = kernel - np.round(kernel / scale) * scale
        noise[bits] = -np.log1p(-np.sum(error**2) / np.sum(kernel**2))
    expected = [0.0, scores[:10].sum(), noise[8], scores[:19].sum() + noise[4]]
    np.testing.assert_allclose(prior_damage([kernel], [info], actions), expected, rtol=1e-6)
    assert noise[4] > 10 * noise[8] > 0


def test_the_prior_of_several_kernels_adds_up():
    kernels = [np.random.default_rng(seed).normal(size=(4, 3)) for seed in (0, 1)]
    info = KernelInfo(name="kernel", shape=(4, 3), channel_axis=(1,))
    single = [prior_damage([kernel], [info], DEFAULT_ACTIONS) for kernel in kernels]
    both = prior_damage(kernels, [info, info], DEFAULT_ACTIONS)
    np.testing.assert_allclose(both, single[0] + single[1])


@given(st.integers(0, 10**6), st.sampled_from([4, 8]), st.floats(1e-6, 1e6))
def test_rounding_noise_is_a_share_and_has_no_scale(seed, bits, factor):
    kernel = np.random.default_rng(seed).normal(size=(6, 3))
    noise = rounding_noise(kernel, bits, (1,))
    assert 0.0 <= noise < 1.0
    assert rounding_noise(kernel * factor, bits, (1,)) == pytest.approx(noise, rel=1e-6)


def test_rounding_noise_of_exact_and_of_empty_kernels():
    assert rounding_noise(np.array([[7.0, -3.0, 0.0]]), 4, ()) == 0.0
    assert rounding_noise(np.zeros((3, 2)), 4, (1,)) == 0.0
    assert rounding_noise(np.random.default_rng(0).normal(size=(3, 2)), 16, (1,)) == 0.0


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.3, 0.97))
def test_under_an_equal_price_per_weight_the_prior_allocates_as_lamp(seed, sparsity):
    generator = np.random.default_rng(seed)
    shapes = [(3, 3, 8, 16), (3, 3, 16, 16), (64, 32), (128, 10)]
    kernels = [
        generator.normal(scale=10.0 ** generator.uniform(-2, 1), size=shape)
        * generator.gamma(1.0, size=shape)
        for shape in shapes
    ]
    actions = action_grid(weight_bits=(8,))
    infos = [KernelInfo(name="kernel", shape=s, channel_axis=(len(s) - 1,)) for s in shapes]
    damage = np.stack(
        [prior_damage([k], [i], actions) for k, i in zip(kernels, infos, strict=True)]
    )
    sizes = np.array([kernel.size for kernel in kernels])
    grid = np.array(DEFAULT_SPARSITIES)
    cost = sizes[:, None] - np.rint(sizes[:, None] * grid)  # the weights that stay
    scores = np.sort(np.concatenate([numpy_lamp_scores(kernel) for kernel in kernels]))
    price = scores[round(sparsity * scores.size)]  # LAMP removes what scores less
    cheapest = np.argmin(damage + price * cost, axis=1)
    budget = cost[np.arange(4), cheapest].sum()
    allocation = allocate(damage, cost[:, :, None], np.array([budget]))
    lamp = np.interp(distributions.lamp(kernels, sparsity), grid, np.arange(grid.size))
    assert np.abs(cheapest - lamp).max() < 1.0 + 1e-9
    assert allocation.damage == pytest.approx(damage[np.arange(4), cheapest].sum())
    np.testing.assert_array_equal(allocation.choice, cheapest)


def test_an_untrained_network_predicts_the_prior():
    generator = np.random.default_rng(0)
    prior = generator.uniform(0, 2, (3, 7))
    features = generator.normal(size=(3, 7, NUM_FEATURES))
    weights = damage_network.init(NUM_FEATURES, (8, 8), dtype="float64")
    np.testing.assert_array_equal(damage_network.apply(weights, features, prior), prior)


def test_the_correction_is_a_bounded_factor():
    generator = np.random.default_rng(0)
    prior = generator.uniform(0.1, 2, (3, 7))
    features = generator.normal(size=(3, 7, NUM_FEATURES))
    weights = damage_network.init(NUM_FEATURES, (8, 8), dtype="float64")
    wild = tuple(weight + generator.normal(0, 50, weight.shape) for weight in weights)
    damage = damage_network.apply(wild, features, prior).numpy()
    assert np.all(damage > 0)
    ratio = np.log(damage / prior)
    assert np.abs(ratio).max() <= 3.0 + 1e-9 and np.abs(ratio).max() > 2.0


def test_the_network_equals_numpy():
    generator = np.random.default_rng(1)
    features, prior = generator.normal(size=(2, 3, 5)), generator.uniform(size=(2, 3))
    shapes = [(5, 4), (4,), (4, 1), (1,)]
    k1, b1, k2, b2 = weights = [generator.normal(size=shape) for shape in shapes]
    correction = (np.tanh(features @ k1 + b1) @ k2 + b2)[..., 0]
    expected = prior * np.exp(3 * np.tanh(correction / 3))
    np.testing.assert_allclose(damage_network.apply(tuple(weights), features, prior), expected)


# The problem: features, costs, limits


def scaled(model, factor):
    for layer in model.layers:
        for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            variable = getattr(layer, name, None)
            if variable is not None:
                variable.assign(np.asarray(variable) * factor)
    return model


def random_dense_net():
    return randomize(dense_net())


@pytest.mark.parametrize("make", [conv_net, residual_net, random_dense_net])
def test_features_are_finite_and_have_no_scale(make):
    problem = make_problem(make(), Budget(size_ratio=0.95))
    assert problem.features.shape == (*problem.prior.shape, NUM_FEATURES)
    assert np.isfinite(problem.features).all() and np.isfinite(problem.prior).all()
    assert np.abs(problem.features).max() < 10
    other = make_problem(scaled(make(), 10.0), Budget(size_ratio=0.95))
    np.testing.assert_allclose(other.prior, problem.prior, rtol=1e-4, atol=1e-7)
    # The float32 file of other numbers deflates to a few bytes more or less.
    np.testing.assert_allclose(other.features, problem.features, atol=0.02)


def test_features_of_degenerate_layers_are_finite():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, kernel_initializer="zeros"),
            layers.Dense(1),
            layers.Dense(1),
        ]
    )
    problem = make_problem(model, Budget(size_ratio=1.0))
    assert np.isfinite(problem.features).all() and np.isfinite(problem.prior).all()
    assert np.all(problem.prior >= 0)


def test_features_tell_kinds_and_positions():
    problem = make_problem(conv_net(), Budget(size_ratio=0.95))
    columns = {name: problem.features[:, 0, i] for i, name in enumerate(LAYER_FEATURES)}
    assert [info.name for info in problem.infos] == ["conv", "depthwise", "separable", "head"]
    assert columns["is_conv"].tolist() == [1, 0, 0, 0]
    assert columns["is_depthwise"].tolist() == [0, 1, 0, 0]
    assert columns["is_separable"].tolist() == [0, 0, 1, 0]
    assert columns["is_dense"].tolist() == [0, 0, 0, 1]
    assert columns["is_first"].tolist() == [1, 0, 0, 0]
    assert columns["is_last"].tolist() == [0, 0, 0, 1]
    assert columns["depth"].tolist() == sorted(columns["depth"])
    sizes = np.array([36, 72, 72 + 48, 18])
    np.testing.assert_allclose(columns["log_weight_share"], np.log10(sizes / sizes.sum()))


def test_the_policy_lies_within_the_limits_and_on_the_device():
    model = randomize(residual_net())
    budget = budget_between(model, 0.3, DEFAULT_ACTIONS)
    problem = make_problem(model, budget)
    policy = problem.policy(problem.prior, "it", extra=3)
    assert dict(policy.provenance) == {"device": "android-arm64", "extra": 3}
    choice = problem.allocate(problem.prior).choice
    assert problem.table.total(choice)["size_bytes"] <= budget.size_bytes
    plans = policy.resolve(describe(model))
    for plan, index in zip(plans, choice, strict=True):
        action = problem.table.actions[index]
        assert (plan.sparsity, plan.weight_bits) == (action.sparsity, action.weight_bits)


def test_several_resources_are_met_together():
    model = randomize(residual_net())
    budget = Budget(size_ratio=0.9, flash_bytes=5_780)
    problem = make_problem(model, budget)
    assert problem.table.resources == ("size_bytes", "flash_bytes")
    total = problem.table.total(problem.allocate(problem.prior).choice)
    limits = budget.limits(problem.table.reference)
    assert all(total[name] <= limits[name] for name in limits)
    shares = (problem.limits - problem.table.fixed) / np.where(
        problem.table.mask[:, :, None], problem.table.cost, 0
    ).max(axis=1).sum(axis=0)
    assert problem.tightest == np.argmin(shares)


def test_the_relaxed_cost_is_a_share_of_the_room():
    model = residual_net()
    problem = make_problem(model, budget_between(model, 0.5, DEFAULT_ACTIONS))
    choice = problem.allocate(problem.prior).choice
    spent = problem.relaxed_cost()[np.arange(len(choice)), choice].sum()
    assert 0.7 < spent <= 1.0


def test_kernels_of_the_problem_are_folded():
    model = conv_net()
    problem = make_problem(model, Budget(size_ratio=0.95))
    for path, kernels in kernel_arrays(model).items():
        for kernel, expected in zip(problem.kernels[path], kernels, strict=True):
            np.testing.assert_array_equal(kernel, expected)


def test_bad_arguments_are_errors():
    with pytest.raises(ArgumentTypeError, match="budget"):
        make_problem(dense_net(), 0.1)
    with pytest.raises(InvalidArgumentError, match="must limit"):
        make_problem(dense_net(), Budget(accuracy_drop=0.1))
    with pytest.raises(ArgumentTypeError, match="LatencyTable"):
        make_problem(dense_net(), Budget(latency_ms=1.0))
    with pytest.raises(UnsupportedModelError):
        make_problem(
            keras.Sequential([keras.Input((3,)), layers.BatchNormalization()]),
            Budget(size_ratio=0.1),
        )
    problem = make_problem(dense_net(), Budget(size_bytes=1.0))
    with pytest.raises(InfeasibleBudgetError):
        problem.policy(problem.prior, "it")
