"""Masks in every structure, against loops in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.ops import pattern_mask, patterns, register_pattern, threshold_mask

few = settings(max_examples=25, deadline=None)
# Few distinct values, so that ties are common.
VALUES = st.sampled_from([0.0, 0.25, 1.0, 2.0, 3e30])
FRACTIONS = st.sampled_from([0.0, 0.3, 0.5, 0.875, 1.0])
SPARSITIES = st.floats(0.0, 1.0, exclude_max=True)


def scores_of(shape):
    return hnp.arrays(np.float32, shape, elements=VALUES)


@st.composite
def n_of_m(draw):
    m = draw(st.integers(2, 6))
    rank = draw(st.integers(2, 4))
    shape = [draw(st.integers(1, 3)) for _ in range(rank)]
    shape[-2] = m * draw(st.integers(1, 3))
    return draw(scores_of(tuple(shape))), draw(st.integers(1, m - 1)), m


@few
@given(n_of_m(), FRACTIONS)
def test_n_of_m_keeps_the_best_of_each_group_along_the_inputs(case, fraction):
    scores, n, m = case
    rank = scores.ndim
    mask = pattern_mask(
        tf.constant(scores), f"{n}:{m}", fraction=fraction, channel_axis=(rank - 1,)
    ).numpy()
    expected = np.zeros_like(scores)
    num_kept = m - round(fraction * (m - n))
    for place in np.ndindex(*scores.shape[:-2], scores.shape[-1]):
        row = scores[(*place[:-1], slice(None), place[-1])]
        for start in range(0, len(row), m):
            group = row[start : start + m]
            best = sorted(range(m), key=lambda i, group=group: (-group[i], i))[:num_kept]
            for i in best:
                expected[(*place[:-1], start + i, place[-1])] = 1.0
    np.testing.assert_array_equal(mask, expected)


def test_the_input_axis_of_a_transposed_convolution_is_the_last():
    scores = np.arange(16, dtype="float32").reshape(1, 1, 4, 4)
    mask = pattern_mask(tf.constant(scores), "1:4", channel_axis=(2,)).numpy()
    np.testing.assert_array_equal(mask[0, 0], [[0, 0, 0, 1]] * 4)


@st.composite
def blocks(draw):
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    lead = [draw(st.integers(1, 2)) for _ in range(draw(st.integers(0, 2)))]
    shape = (*lead, height * draw(st.integers(1, 3)), width * draw(st.integers(1, 3)))
    elements = st.sampled_from([0.0, 1.0, 2.0, 4.0])
    return draw(hnp.arrays(np.float32, shape, elements=elements)), height, width


@few
@given(blocks(), SPARSITIES, FRACTIONS, st.sampled_from(["avg", "max"]))
def test_blocks_are_removed_whole_and_by_number(case, sparsity, fraction, pooling):
    scores, height, width = case
    pattern = f"block:{height}x{width}:{pooling}"
    mask = pattern_mask(tf.constant(scores), pattern, sparsity, fraction=fraction).numpy()
    planes = scores.reshape(-1, *scores.shape[-2:])
    places = [
        (plane, row, column)
        for plane in range(len(planes))
        for row in range(0, planes.shape[1], height)
        for column in range(0, planes.shape[2], width)
    ]
    reduce = np.mean if pooling == "avg" else np.max
    pooled = [reduce(planes[p, r : r + height, c : c + width]) for p, r, c in places]
    num_kept = max(len(places) - int(np.round(sparsity * fraction * len(places))), 1)
    order = sorted(range(len(places)), key=lambda i: (-np.float32(pooled[i]), i))
    expected = np.zeros_like(planes)
    for index in order[:num_kept]:
        plane, row, column = places[index]
        expected[plane, row : row + height, column : column + width] = 1.0
    np.testing.assert_array_equal(mask, expected.reshape(scores.shape))


@pytest.mark.parametrize(
    ("shape", "axis", "channels"),
    [
        ((3, 3, 2, 6), (3,), 6),
        ((4, 5), (1,), 5),
        ((3, 3, 2, 3), (2, 3), 6),
        ((2, 2, 5, 3), (2,), 5),
    ],
)
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.99])
def test_channels_are_removed_whole_and_by_number(shape, axis, channels, sparsity):
    scores = np.random.default_rng(0).random(shape).astype("float32")
    mask = pattern_mask(tf.constant(scores), "channel", sparsity, channel_axis=axis).numpy()
    others = tuple(a for a in range(len(shape)) if a not in axis)
    means, kept = scores.mean(axis=others).ravel(), mask.mean(axis=others).ravel()
    num_kept = max(channels - round(sparsity * channels), 1)
    expected = np.zeros(channels)
    expected[np.argsort(-means)[:num_kept]] = 1.0
    np.testing.assert_array_equal(kept, expected)


@few
@given(scores_of((4, 4)), SPARSITIES, FRACTIONS)
def test_a_growing_mask_never_gives_a_weight_back(scores, sparsity, fraction):
    for pattern in ("unstructured", "channel", "block:2x2", "1:4"):
        early, late = (
            pattern_mask(tf.constant(scores), pattern, sparsity, fraction=f, channel_axis=(1,))
            for f in (fraction, 1.0)
        )
        assert np.all(late.numpy() <= early.numpy())


@few
@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32)), st.floats(1e-6, 3.0))
def test_a_threshold_removes_what_is_smaller_but_for_the_largest(kernel, threshold):
    mask = threshold_mask(tf.constant(kernel), threshold).numpy()
    magnitudes = np.abs(kernel)
    if (magnitudes >= np.float32(threshold)).any():
        np.testing.assert_array_equal(mask, magnitudes >= np.float32(threshold))
    else:
        np.testing.assert_array_equal(mask, magnitudes == magnitudes.max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "2:3"}, "input axis of 4 is no multiple of 3"),
        ({"pattern": "2:4", "channel_axis": (0, 1)}, "no input axis"),
        ({"pattern": "block:3x3", "sparsity": 0.5}, "cannot be cut"),
        ({"pattern": "unstructured", "sparsity": 1.0}, "`sparsity`"),
        ({"pattern": "unstructured", "fraction": 1.5}, "`fraction`"),
        ({"pattern": "diagonal"}, "`pattern`"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        pattern_mask(tf.ones((4, 4)), **{"channel_axis": (1,), **arguments})


def test_a_structure_can_be_replaced_by_registering():
    assert set(patterns()) == {"unstructured", "channel", "N:M", "block"}
    mask = tf.eye(2)
    from tf_metacompress.ops.patterns import channel

    register_pattern("channel", lambda scores, request: mask)
    try:
        assert pattern_mask(tf.ones((2, 2)), "channel", 0.5, channel_axis=(1,)) is mask
    finally:
        register_pattern("channel", channel.mask)
