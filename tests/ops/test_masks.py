"""Masks against NumPy sorting."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.ops import magnitude_scores, masked_sparsity, top_k_mask

# Few distinct values, so that ties are common.
SCORES = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=4, max_side=6),
    elements=st.sampled_from([0.0, 0.25, 1.0, 2.0, 1e-30, 3e38]),
)
SPARSITIES = st.floats(0.0, 1.0, exclude_max=True)


def numpy_mask(scores, sparsity):
    flat = scores.ravel().astype(np.float64)
    num_kept = max(flat.size - int(np.round(sparsity * flat.size)), 1)
    mask = np.zeros(flat.size)
    mask[np.argsort(-flat, kind="stable")[:num_kept]] = 1.0
    return mask.reshape(scores.shape)


@given(SCORES, SPARSITIES)
@example(np.arange(5, dtype="float32"), 0.7)  # 3.5 weights: 3 in float32, 4 in float64
@example(np.ones(10, "float32"), 0.05)
def test_top_k_mask_equals_sorting(scores, sparsity):
    mask = top_k_mask(tf.constant(scores), sparsity).numpy()
    np.testing.assert_array_equal(mask, numpy_mask(scores, sparsity))
    assert mask.dtype == scores.dtype


@given(SCORES, SPARSITIES)
def test_exactly_the_rounded_number_is_removed(scores, sparsity):
    removed = int(np.sum(top_k_mask(tf.constant(scores), sparsity).numpy() == 0.0))
    assert removed == min(int(np.round(sparsity * scores.size)), scores.size - 1)


@given(SCORES, SPARSITIES, SPARSITIES)
def test_masks_are_nested(scores, first, second):
    sparser, denser = max(first, second), min(first, second)
    small = top_k_mask(tf.constant(scores), sparser).numpy()
    large = top_k_mask(tf.constant(scores), denser).numpy()
    assert np.all(small <= large)


def test_among_equal_scores_the_earlier_are_kept():
    mask = top_k_mask(tf.constant([[1.0, 2.0], [1.0, 1.0]]), 0.5)
    assert mask.numpy().tolist() == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("sparsity", [0.6, 0.999999])
def test_one_weight_always_stays(sparsity):
    assert top_k_mask(tf.constant([5.0]), sparsity).numpy().tolist() == [1.0]
    assert np.sum(top_k_mask(tf.constant([5.0, 7.0, 6.0]), 0.999999)) == 1.0


def test_a_tensor_sparsity_and_a_traced_call_give_the_same():
    scores = np.random.default_rng(0).normal(size=(3, 3, 4, 8)).astype("float32")
    traced = tf.function(top_k_mask)
    for sparsity in (0.0, 0.5, 0.7, 0.99):
        expected = numpy_mask(scores, sparsity)
        np.testing.assert_array_equal(traced(scores, tf.constant(sparsity, tf.float64)), expected)
        np.testing.assert_array_equal(top_k_mask(scores, tf.constant(sparsity)), expected)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan"), 2, True])
def test_a_python_sparsity_out_of_range_is_an_error(sparsity):
    with pytest.raises(InvalidArgumentError, match="sparsity"):
        top_k_mask(tf.constant([1.0]), sparsity)


def test_magnitude_scores_are_of_the_deployed_weight():
    kernel = np.array([[-1.0, 2.0], [3.0, -4.0]], "float32")
    np.testing.assert_array_equal(magnitude_scores(tf.constant(kernel)), np.abs(kernel))
    gain = np.array([[-5.0, 0.5]], "float32")
    np.testing.assert_array_equal(
        magnitude_scores(tf.constant(kernel), tf.constant(gain)), np.abs(kernel * gain)
    )


@given(hnp.arrays(np.float32, (7,), elements=st.sampled_from([0.0, -0.0, 1.0])))
def test_masked_sparsity_counts_zeros(mask):
    assert float(masked_sparsity(tf.constant(mask))) == pytest.approx(np.mean(mask == 0))
