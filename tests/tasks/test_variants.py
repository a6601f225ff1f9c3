"""Variants of a data set, and splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.tasks import ClassSubset, Contrast, Noise, Rotation, split

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((40, 6, 6, 1), np.float32)
Y = np.arange(40) % 5
VARIANTS = [
    ClassSubset(num_ways=3),
    ClassSubset(classes=(4, 0)),
    Rotation(degrees=30.0),
    Noise(stddev=0.2),
    Contrast(lower=0.4, upper=0.8),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=repr)
def test_equal_seeds_give_equal_tasks_and_the_input_stays(variant):
    before = X.copy()
    (x1, y1), (x2, y2) = variant(X, Y, 7), variant(X, Y, 7)
    np.testing.assert_array_equal(x1, x2)
    np.testing.assert_array_equal(y1, y2)
    np.testing.assert_array_equal(X, before)
    assert (x1.dtype, y1.dtype, x1.shape[1:]) == (X.dtype, Y.dtype, X.shape[1:])
    assert len(x1) == len(y1)


@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v != ClassSubset(classes=(4, 0))], ids=repr
)
def test_other_seeds_give_other_tasks(variant):
    drawn = [variant(X, Y, seed)[0] for seed in range(6)]
    assert any(a.shape != drawn[0].shape or (a != drawn[0]).any() for a in drawn[1:])


@given(st.integers(0, 1000), st.integers(2, 5))
def test_a_subset_numbers_its_classes_from_zero(seed, num_ways):
    x, y = ClassSubset(num_ways=num_ways)(X, Y, seed)
    assert sorted(set(y.tolist())) == list(range(num_ways))
    originals = [Y[(image == X).all(axis=(1, 2, 3))][0] for image in x]
    pairs = set(zip(originals, y.tolist(), strict=True))
    assert len(pairs) == num_ways


def test_given_classes_are_numbered_in_their_order():
    x, y = ClassSubset(classes=(4, 0))(X, Y, 0)
    np.testing.assert_array_equal(x[y == 0], X[Y == 4])
    np.testing.assert_array_equal(x[y == 1], X[Y == 0])


def test_training_and_test_sets_get_the_same_classes():
    variant = ClassSubset(num_ways=2)
    kept = [{int(Y[i]) for i in range(40) if (variant(X, Y, 3)[0] == X[i]).all((1, 2, 3)).any()}]
    half, _ = variant(X[::-1][:20], Y[::-1][:20], 3)
    again = {int(Y[i]) for i in range(40) if (half == X[i]).all((1, 2, 3)).any()}
    assert kept == [again]


def test_a_rotation_turns_a_line():
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[:, 4] = 1.0
    angles = []
    for seed in range(20):
        turned = Rotation(degrees=40.0)(x, np.zeros(1, int), seed)[0][0, :, :, 0]
        rows, columns = np.indices(turned.shape) - 4
        slope = (turned * rows * columns).sum() / (turned * columns**2).sum()
        angles.append(np.degrees(np.arctan(slope)))
    assert -43.0 < min(angles) < -20.0
    assert 20.0 < max(angles) < 43.0


def test_noise_has_its_deviation_and_keeps_the_range():
    x = np.full((50, 8, 8, 1), 0.5, np.float64)
    x[0, 0, 0, 0], x[0, 0, 1, 0] = -10.0, 10.0
    noisy, _ = Noise(stddev=0.3)(x, np.zeros(50, int), 0)
    assert (noisy - x)[1:].std() == pytest.approx(0.3, rel=0.05)
    assert (noisy.min(), noisy.max()) >= (-10.0, 10.0) or noisy.max() <= 10.0
    clipped, _ = Noise(stddev=5.0)(X, Y, 0)
    assert (clipped.min(), clipped.max()) == (X.min(), X.max())


def test_contrast_scales_about_the_mean():
    x, _ = Contrast(lower=0.5, upper=0.5)(X, Y, 0)
    np.testing.assert_allclose(x - X.mean(), 0.5 * (X - X.mean()), atol=1e-6)
    strong, _ = Contrast(lower=5.0, upper=5.0)(X, Y, 0)
    assert (strong.min(), strong.max()) == (X.min(), X.max())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassSubset(), "either `num_ways` or `classes`"),
        (lambda: ClassSubset(num_ways=2, classes=(0, 1)), "either `num_ways` or `classes`"),
        (lambda: ClassSubset(num_ways=1), "`num_ways`"),
        (lambda: ClassSubset(classes=(1, 1)), "each once"),
        (lambda: ClassSubset(classes=(-1, 1)), "`classes`"),
        (lambda: Rotation(degrees=0.0), "`degrees`"),
        (lambda: Noise(stddev=-1.0), "`stddev`"),
        (lambda: Contrast(lower=0.0, upper=1.0), "`lower`"),
        (lambda: Contrast(lower=2.0, upper=1.0), "must not be below"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClassSubset(num_ways=6)(X, Y, 0), "fewer classes.*num_ways=6, present=5"),
        (lambda: ClassSubset(classes=(0, 9))(X, Y, 0), "lack a class"),
        (lambda: ClassSubset(num_ways=2)(X, Y * 1.0, 0), "class indices"),
        (lambda: Noise(stddev=1.0)(X[0], Y, 0), r"\(N, H, W, C\)"),
        (lambda: Rotation(degrees=5.0)((X * 255).astype(np.uint8), Y, 0), "floats"),
        (lambda: Noise(stddev=1.0)(X, Y, -1), "`seed`"),
        (lambda: split(X, Y, 0.0, 0), "Both parts"),
        (lambda: split(X[:1], Y[:1], 0.5, 0), "Both parts"),
        (lambda: split(X, Y, 1.0, 0), "`fraction`"),
        (lambda: split(X, Y[:3], 0.5, 0), "one label per input"),
    ],
)
def test_bad_data_are_refused(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()


@given(st.floats(0.1, 0.9), st.integers(0, 1000))
def test_a_split_parts_every_class_alike(fraction, seed):
    first, second = split(X, Y, fraction, seed)
    for label in range(5):
        assert (first[1] == label).sum() == round(fraction * 8)
    together = np.concatenate([first[0], second[0]])
    assert len(np.unique(together, axis=0)) == len(together) == len(X)


def test_a_split_of_regression_targets_is_random():
    first, second = split(X, Y * 0.5, 0.25, 0)
    assert (len(first[0]), len(second[0])) == (10, 30)
    assert not np.array_equal(first[1], split(X, Y * 0.5, 0.25, 1)[0][1])
