"""Where the values of an activation lie, and the range that represents them best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.errors import check_choice

NUM_BINS = 4096
_KEPT_SHARE = 0.9999
_SHRINKAGES = np.linspace(1.0, 0.1, 91)

Range = tuple[float, float]


@dataclass
class Histogram:
    """Counts of values between two ends.

    Attributes:
        low: Smallest value seen.
        high: Largest value seen.
        counts: Values in each of the equal bins between them.
    """

    low: float
    high: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BINS))

    def add(self, values: np.ndarray) -> None:
        """Counts more values; those beyond the ends are left out.

        Args:
            values: Any shape.
        """
        self.counts += np.histogram(values, NUM_BINS, (self.low, self.high))[0]

    @property
    def centers(self) -> np.ndarray:
        """Middle of each bin."""
        edges = np.linspace(self.low, self.high, NUM_BINS + 1)
        return (edges[:-1] + edges[1:]) / 2.0


def min_max_range(histogram: Histogram, num_bits: int) -> Range:
    """Represents every value that was seen.

    Args:
        histogram: The values.
        num_bits: Not used.

    Returns:
        Lower and upper end.
    """
    del num_bits
    return histogram.low, histogram.high


def percentile_range(histogram: Histogram, num_bits: int) -> Range:
    """Leaves out the outermost 0.01 %, half at each end; all at the top of what starts at zero.

    Args:
        histogram: The values.
        num_bits: Not used.

    Returns:
        Lower and upper end.
    """
    del num_bits
    left_out = 1.0 - _KEPT_SHARE
    below = 0.0 if histogram.low >= 0.0 else left_out / 2.0
    above = left_out if histogram.high > 0.0 and below == 0.0 else left_out / 2.0
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    edges = np.linspace(histogram.low, histogram.high, NUM_BINS + 1)
    low = edges[int(np.searchsorted(shares, below, side="right"))] if below else histogram.low
    return float(low), float(edges[int(np.searchsorted(shares, 1.0 - above)) + 1])


def mse_range(histogram: Histogram, num_bits: int) -> Range:
    """Shrinks the range to where the mean squared rounding and clipping error is least.

    Args:
        histogram: The values.
        num_bits: Bits of the grid, 2 to 16.

    Returns:
        Lower and upper end.
    """
    ranges = [(share * histogram.low, share * histogram.high) for share in _SHRINKAGES.tolist()]
    errors = [_squared_error(histogram, ends, num_bits) for ends in ranges]
    return ranges[int(np.argmin(errors))]


def _squared_error(histogram: Histogram, ends: Range, num_bits: int) -> float:
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = (high - low) / (2**num_bits - 1)
    if scale == 0.0:
        return float(np.sum(histogram.counts * histogram.centers**2))
    zero_point = np.round(-low / scale)
    integers = np.round(histogram.centers / scale) + zero_point
    rounded = (np.clip(integers, 0, 2**num_bits - 1) - zero_point) * scale
    return float(np.sum(histogram.counts * (histogram.centers - rounded) ** 2))


RANGE_SETTINGS: Mapping[str, Callable[[Histogram, int], Range]] = {
    "min_max": min_max_range,
    "percentile": percentile_range,
    "mse": mse_range,
}
"""How a range is set from the values seen, by name."""


def range_of(histogram: Histogram, num_bits: int, setting: str) -> Range:
    """Sets the range of an activation.

    Args:
        histogram: The values.
        num_bits: Bits of the grid.
        setting: "min_max", "percentile" or "mse".

    Returns:
        Lower and upper end.

    Raises:
        InvalidArgumentError: If `setting` is none of these.

    Example:
        >>> histogram = Histogram(0.0, 10.0)
        >>> histogram.add(np.append(np.linspace(0.0, 1.0, 99_999), 10.0))
        >>> [round(range_of(histogram, 8, name)[1], 1) for name in RANGE_SETTINGS]
        [10.0, 1.0, 9.0]
    """
    check_choice("range_setting", setting, tuple(RANGE_SETTINGS))
    return RANGE_SETTINGS[setting](histogram, num_bits)
