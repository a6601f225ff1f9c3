"""Which weights 4 bits hold without loss, however the file stores them.

A layer trained with `weight_bits=4` has 15 levels a channel. XNNPACK runs FULLY_CONNECTED with
packed 4-bit weights fast, but takes no convolution with them: a small net ran 4.6 times slower than
in int8, as slow as in float32. Convolutions therefore keep a byte a weight. After gzip their levels
are 1 to 14 % larger than packed ones where 60 % or more are zeros, up to 18 % where none are.
"""

import numpy as np

INT4_LEVELS = 7
"""Largest level of the symmetric 4-bit grid; the levels are −7 to 7."""

_TOLERANCE = 1e-4


def is_on_int4_grid(kernel: np.ndarray, axis: int = 0) -> bool:
    """Whether 4 bits hold a kernel without loss, and 2 bits would not.

    That is so when every weight is an integer multiple, to 1e-4, of its channel's largest magnitude
    divided by 7: the grid of a layer trained with `weight_bits=4`. Neither the 8-bit grid nor
    untrained weights lie on it by accident. Where no channel has two non-zero magnitudes any grid
    fits, as in very sparse kernels, and the answer is no.

    Args:
        kernel: Weights.
        axis: Axis of the output channels.

    Returns:
        Whether the kernel is on the 4-bit grid.

    Example:
        >>> is_on_int4_grid(np.array([[0.7, -0.3, 0.0, 0.1]]))
        True
        >>> is_on_int4_grid(np.array([[0.7, -0.7, 0.0, 0.0]]))
        False
    """
    if not kernel.size:
        return False
    rows = np.abs(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).astype(np.float64))
    largest = rows.max(axis=1, keepdims=True)
    levels = rows / np.where(largest > 0, largest, 1.0) * INT4_LEVELS
    whole = np.round(levels)
    several = ((whole > 0) & (whole < INT4_LEVELS)).any()
    return bool(several) and bool(np.abs(levels - whole).max() < _TOLERANCE)
