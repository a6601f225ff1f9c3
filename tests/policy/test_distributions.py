"""Distributions of sparsity against their definitions, in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import (
    erk,
    global_magnitude,
    lamp,
    lamp_damage,
    lamp_scores,
    uniform,
)

ALL = pytest.mark.parametrize("distribution", [uniform, erk, global_magnitude, lamp])
WEIGHTS = st.sampled_from([0.0, 0.5, -1.0, 2.0, -3.0]) | st.floats(-100.0, 100.0, width=32)
KERNELS = st.lists(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=WEIGHTS),
    min_size=1,
    max_size=5,
)
SPARSITIES = st.floats(0.0, 0.999)


def sizes_of(kernels):
    return np.array([kernel.size for kernel in kernels])


@ALL
def test_sparsities_are_fractions_that_add_up(distribution):
    @given(KERNELS, SPARSITIES)
    def check(kernels, sparsity):
        found = distribution(kernels, sparsity)
        assert found.shape == (len(kernels),)
        assert ((found >= 0.0) & (found < 1.0)).all()
        removed = (found * sizes_of(kernels)).sum()
        wanted = sparsity * sizes_of(kernels).sum()
        if distribution in (global_magnitude, lamp):
            most = sizes_of(kernels).sum() - len(kernels)
            assert removed == pytest.approx(min(round(wanted), most))
        else:
            assert removed == pytest.approx(wanted, abs=1e-6)

    check()


@ALL
def test_no_sparsity_removes_nothing(distribution):
    kernels = [np.ones((3, 3)), np.arange(1.0, 9.0)]
    np.testing.assert_allclose(distribution(kernels, 0.0), 0.0, atol=1e-12)


@ALL
@pytest.mark.parametrize(
    ("kernels", "sparsity"),
    [([], 0.5), ([np.zeros(0)], 0.5), ([np.array([np.nan])], 0.5), ([np.ones(3)], 1.0)],
)
def test_bad_input_is_refused(distribution, kernels, sparsity):
    with pytest.raises(InvalidArgumentError):
        distribution(kernels, sparsity)


def test_erk_keeps_in_proportion_to_dimensions_over_size():
    kernels = [np.ones((3, 3, 16, 32)), np.ones((3, 3, 32, 64)), np.ones((1024, 512))]
    kept = 1.0 - erk(kernels, 0.95)
    raw = np.array([54 / 4608, 102 / 18432, 1536 / 524288])
    np.testing.assert_allclose(kept / kept[0], raw / raw[0])


def test_erk_leaves_a_small_layer_dense_and_charges_the_others():
    sparsities = erk([np.ones((3, 3, 1, 4)), np.ones((256, 256))], 0.5)
    assert sparsities[0] == 0.0
    assert sparsities[1] == pytest.approx(0.5 * (36 + 65536) / 65536)


@given(KERNELS, SPARSITIES)
def test_global_magnitude_removes_no_larger_weight_than_it_keeps(kernels, sparsity):
    found = global_magnitude(kernels, sparsity)
    removed, kept = [], []
    for kernel, share in zip(kernels, found, strict=True):
        ordered = np.sort(np.abs(kernel), axis=None)
        count = round(share * kernel.size)
        removed.extend(ordered[:count])
        kept.extend(ordered[count:-1])  # a layer's largest weight always stays
    assert max(removed, default=-1.0) <= min(kept, default=np.inf)


def slow_lamp_scores(array):
    flat = [float(w) ** 2 for w in array.ravel()]
    order = sorted(range(len(flat)), key=lambda i: (flat[i], i))
    scores = np.zeros(len(flat))
    for rank, index in enumerate(order):
        remaining = sum(flat[j] for j in order[rank:])
        scores[index] = flat[index] / remaining if remaining else 0.0
    scores[order[-1]] = 1.0
    return scores.reshape(array.shape)


ARRAYS = hnp.arrays(
    np.float64,
    hnp.array_shapes(max_dims=3, max_side=4),
    elements=st.sampled_from([0.0, 1e-3, 0.5, -0.5, 1.0, -2.0, 7.0]),
)


@given(ARRAYS)
def test_lamp_scores_follow_the_definition(array):
    np.testing.assert_allclose(lamp_scores(array), slow_lamp_scores(array), rtol=1e-9)


@given(ARRAYS, st.floats(1e-3, 1e3))
def test_lamp_scores_have_no_scale(array, factor):
    np.testing.assert_allclose(lamp_scores(array * factor), lamp_scores(array), rtol=1e-6)


@given(ARRAYS, st.lists(SPARSITIES, max_size=5))
def test_lamp_damage_sums_what_is_removed(array, sparsities):
    ordered = np.sort(slow_lamp_scores(array), axis=None)
    counts = [min(round(s * array.size), array.size - 1) for s in sparsities]
    expected = [ordered[:count].sum() for count in counts]
    np.testing.assert_allclose(lamp_damage(array, sparsities), expected, rtol=1e-9, atol=1e-15)


def test_lamp_scores_of_extreme_weights_are_finite():
    scores = lamp_scores(np.array([1e-300, 1e300, -1e200, 0.0]))
    assert np.isfinite(scores).all()
    assert scores[1] == 1.0


def test_lamp_spares_a_layer_of_small_weights():
    small, large = np.full(10, 1e-3), np.linspace(1.0, 10.0, 100)
    assert global_magnitude([small, large], 0.5)[0] == pytest.approx(0.9)
    assert lamp([small, large], 0.5)[0] < 0.6


def test_lamp_damage_refuses_bad_input():
    with pytest.raises(InvalidArgumentError, match="`sparsity`"):
        lamp_damage(np.ones(3), [1.0])
    with pytest.raises(InvalidArgumentError, match="kernel"):
        lamp_damage(np.zeros(0), [0.5])
