"""The weight quantisers by name."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.policy import allow
from tf_metacompress.typing import RangeSetting


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a quantiser must know beside the weights.

    Attributes:
        num_bits: Bits of a weight, 2 to 8.
        channel_axis: Axes that keep a grid of their own; empty for one grid per tensor.
        range_setting: How the range is chosen, for quantisers that have a choice.
    """

    num_bits: int
    channel_axis: tuple[int, ...] = ()
    range_setting: RangeSetting = "min_max"


FakeQuantize = Callable[[tf.Tensor, Grid, tf.Tensor | None], tf.Tensor]
MakeState = Callable[[tf.Tensor, Grid], tf.Tensor | None]


def _no_state(kernel: tf.Tensor, grid: Grid) -> None:
    """A quantiser that works everything out anew at each step keeps nothing."""
    return


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """A way to round weights.

    Attributes:
        name: How rules call it.
        fake_quantize: Rounds a kernel, given its grid and state, with a straight-through gradient
            of which second derivatives are exact. Zeros stay zeros.
        make_state: Works out what is too slow for each training step, such as a codebook, from a
            kernel; None when there is nothing. Its shape depends on the kernel's shape only.
        sees_deployed: Whether it is given the kernel that a file stores, with BatchNormalization
            folded in, because its grid does not grow with the weights.
    """

    name: str
    fake_quantize: FakeQuantize
    make_state: MakeState = _no_state
    sees_deployed: bool = False


_QUANTIZERS: dict[str, Quantizer] = {}


def register_quantizer(quantizer: Quantizer) -> None:
    """Makes a quantiser known to rules and plans.

    Args:
        quantizer: The quantiser; one of the same name is replaced.

    Example:
        >>> to_signs = Quantizer(name="signs", fake_quantize=lambda w, grid, state: tf.sign(w))
        >>> register_quantizer(to_signs)
        >>> get_quantizer("signs").name
        'signs'
    """
    _QUANTIZERS[quantizer.name] = quantizer
    allow("quantizer", quantizer.name)


def get_quantizer(name: str) -> Quantizer:
    """Finds a quantiser.

    Args:
        name: Its name.

    Returns:
        The quantiser.

    Raises:
        InvalidArgumentError: If there is none of that name; a near one is suggested.
    """
    return _QUANTIZERS[check_choice("quantizer", name, _QUANTIZERS)]
