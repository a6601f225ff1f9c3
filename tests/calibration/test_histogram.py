"""How a range is set from the values of a tensor, against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.calibration.histogram import NUM_BINS, Histogram, range_of
from tf_metacompress.errors import InvalidArgumentError


def histogram_of(values):
    histogram = Histogram(float(values.min()), float(values.max()))
    for part in np.array_split(values, 3):
        histogram.add(part)
    return histogram


def squared_error(values, ends, bits):
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = (high - low) / (2**bits - 1)
    zero_point = np.round(-low / scale)
    integers = np.clip(np.round(values / scale) + zero_point, 0, 2**bits - 1)
    return np.mean((values - (integers - zero_point) * scale) ** 2)


def test_every_value_is_counted_once():
    values = np.random.default_rng(0).normal(size=9999)
    assert histogram_of(values).counts.sum() == 9999


def test_min_max_represents_everything():
    values = np.random.default_rng(0).normal(size=1000)
    assert range_of(histogram_of(values), 8, "min_max") == (values.min(), values.max())


@pytest.mark.parametrize("start", [-3.0, 0.0])
def test_percentile_leaves_out_a_ten_thousandth(start):
    values = np.random.default_rng(0).exponential(size=400_000) + start
    low, high = range_of(histogram_of(values), 8, "percentile")
    bin_width = (values.max() - values.min()) / NUM_BINS
    if start == 0.0:
        assert low == values.min()
        assert high == pytest.approx(np.quantile(values, 0.9999), abs=2 * bin_width)
    else:
        assert low == pytest.approx(np.quantile(values, 0.00005), abs=2 * bin_width)
        assert high == pytest.approx(np.quantile(values, 0.99995), abs=2 * bin_width)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_mse_is_the_best_of_the_shrunken_ranges(bits):
    values = np.random.default_rng(1).standard_t(3, 20_000)
    found = range_of(histogram_of(values), bits, "mse")
    error = squared_error(values, found, bits)
    whole = (values.min(), values.max())
    assert error < (0.97 if bits == 8 else 0.5) * squared_error(values, whole, bits)
    others = [
        squared_error(values, (share * whole[0], share * whole[1]), bits)
        for share in np.linspace(0.1, 1.0, 19)
    ]
    assert error <= min(others) * 1.02


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=50).filter(
        lambda values: max(values) - min(values) > 1e-3
    ),
    st.sampled_from(["min_max", "percentile", "mse"]),
    st.integers(2, 16),
)
def test_a_range_lies_within_what_was_seen_or_touches_zero(values, setting, bits):
    values = np.array(values)
    low, high = range_of(histogram_of(values), bits, setting)
    assert low <= high
    assert min(values.min(), 0.0) - 1e-6 <= low
    assert high <= max(values.max(), 0.0) + 1e-6 * abs(values.max()) + 1e-9


def test_an_unknown_setting_is_an_error():
    with pytest.raises(InvalidArgumentError, match="range_setting.*percentile"):
        range_of(Histogram(0.0, 1.0), 8, "percentil")
