"""What an export mode is, and the registry of them: a new mode is a new file and a registration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.deploy.modes.op_formats import FAST_PACKED_OPS, OpFormat
from tf_metacompress.errors import check_choice
from tf_metacompress.typing import IoDtype

CalibrationSamples = Sequence[Mapping[str, np.ndarray]]
"""Samples of batch size one, each a mapping from input name to array of shape (1, ...)."""


@dataclass(frozen=True, kw_only=True)
class ModeOptions:
    """What the user chose beside the mode.

    Attributes:
        io_dtype: Type of the file's input and output tensors.
        ranges: Tensor name to "min" and "max", each an array of one value: ranges known from
            training, which take the place of measured ones.
        formats: Key of an operator of the float32 file to its numbers, in mode "mixed".
        packed_ops: Operators whose weights are packed two to a byte where 4 bits hold them.
    """

    io_dtype: IoDtype = "float32"
    ranges: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    formats: Mapping[str, OpFormat] = field(default_factory=dict)
    packed_ops: tuple[str, ...] = FAST_PACKED_OPS


Quantize = Callable[[bytes, CalibrationSamples, ModeOptions], bytes]


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One numeric format of an exported file.

    Attributes:
        name: What the user asks for.
        quantize: Turns the bytes of a float32 .tflite file into the bytes of this mode's file.
        tolerance: Largest root-mean-square error of an output that export accepts, relative to the
            root mean square of what Keras gives.
        needs_data: Whether activation ranges are measured on representative data.
        needs_plans: Whether a policy says what happens to each layer.
        io_dtypes: Types that the file's inputs and outputs may have.
    """

    name: str
    quantize: Quantize
    tolerance: float
    needs_data: bool = False
    needs_plans: bool = False
    io_dtypes: tuple[IoDtype, ...] = ("float32",)


_MODES: dict[str, Mode] = {}


def register_mode(mode: Mode) -> Mode:
    """Makes a mode known under its name, replacing one of the same name.

    Args:
        mode: The mode.

    Returns:
        The same mode.
    """
    _MODES[mode.name] = mode
    return mode


def mode_names() -> tuple[str, ...]:
    """Lists the registered modes."""
    return tuple(_MODES)


def get_mode(name: str) -> Mode:
    """Finds a mode by name.

    Args:
        name: What the user asked for.

    Returns:
        The mode.

    Raises:
        InvalidArgumentError: If there is none; a near name is suggested.
    """
    return _MODES[check_choice("mode", name, mode_names())]
