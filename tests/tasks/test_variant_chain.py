"""Chains of variants."""

import numpy as np
import pytest

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.tasks import ClassSubset, Contrast, Noise
from tf_metacompress.tasks.variant_chain import apply_variants, check_variants

X, Y = np.random.default_rng(0).random((8, 3, 3, 1)), np.arange(8) % 2


def test_variants_follow_in_order_each_with_its_own_seed():
    chain = (Contrast(lower=0.2, upper=0.8), Noise(stddev=0.1), Noise(stddev=0.1))
    x, y = apply_variants(chain, X, Y, np.random.default_rng(4))
    seeds = np.random.default_rng(4).integers(2**31, size=3)
    expected = X
    for variant, seed in zip(chain, seeds, strict=True):
        expected, _ = variant(expected, Y, int(seed))
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, Y)


def test_one_variant_is_a_chain():
    assert check_variants("augment", Noise(stddev=0.1)) == (Noise(stddev=0.1),)
    assert check_variants("augment", []) == ()


def test_what_is_no_variant_is_refused():
    with pytest.raises(ArgumentTypeError, match="`augment` must hold variants.*type int"):
        check_variants("augment", [3])
    with pytest.raises(InvalidArgumentError, match="`augment` must keep the classes"):
        check_variants("augment", [ClassSubset(num_ways=2)])
    with pytest.raises(InvalidArgumentError, match="before=8, after=4"):
        apply_variants((lambda x, y, seed: (x[:4], y[:4]),), X, Y, np.random.default_rng(0))
