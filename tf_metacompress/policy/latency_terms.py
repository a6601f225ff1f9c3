"""What the latency of a layer is made of, read from the key of a latency table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.policy.latency import Entry

UNITS: tuple[str, ...] = ("matrix_int8", "matrix_float", "depthwise_int8", "depthwise_float")
"""What multiplies: a matrix unit over input and output channels, or channel by channel."""

TERMS: tuple[str, ...] = (*UNITS, "call", "activation_bytes", "weight_bytes")
"""Parts of a latency; each has a price, in nanoseconds."""

Multiples = Mapping[str, tuple[int, int]]
"""By unit, the multiples that input and output channels are rounded up to."""

_INTEGER_BITS, _PACKED_BITS, _PACKED_KINDS = 8, 4, ("Dense",)
_LOOKUPS = ("Embedding",)


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A layer as arithmetic: what is multiplied with what, how often.

    Attributes:
        unit: One of `UNITS`.
        positions: Places of the output.
        area: Weights between one input and one output channel.
        inputs: Input channels; of a depthwise layer 1.
        outputs: Output channels.
        weight_bytes: Bytes of the stored kernel.
        activation_bytes: Bytes of input and output, the input as large as the output.
    """

    unit: str
    positions: int
    area: int
    inputs: int
    outputs: int
    weight_bytes: float
    activation_bytes: float

    @classmethod
    def of(cls, entry: Entry) -> "LayerShape":
        """Reads an entry of a latency table.

        Args:
            entry: Layer key and action.

        Returns:
            The shape; unknown extents count as 1.

        Example:
            >>> from tf_metacompress.policy import Action
            >>> LayerShape.of(("Conv2D 3x3x16x32 -> 14x14x32", Action())).positions
            196
        """
        key, action = entry
        kind, kernel_text, _, output_text = key.split(" ")
        kernel, output = _numbers(kernel_text), _numbers(output_text)
        depthwise = kind.startswith("Depthwise")
        *area, inputs, outputs = (1, 1, *kernel)
        if depthwise:
            inputs, outputs = 1, inputs * outputs
        elif kind.endswith("Transpose"):
            inputs, outputs = outputs, inputs
        integer = action.weight_bits <= _INTEGER_BITS
        packed = kind in _PACKED_KINDS and action.weight_bits <= _PACKED_BITS
        bytes_each = 1 if integer else 4
        positions = math.prod(output[:-1])
        read = outputs if depthwise else inputs
        size = 0 if kind in _LOOKUPS else math.prod(kernel)
        return cls(
            unit=f"{'depthwise' if depthwise else 'matrix'}_{'int8' if integer else 'float'}",
            positions=positions,
            area=0 if kind in _LOOKUPS else math.prod(area),
            inputs=inputs,
            outputs=outputs,
            weight_bytes=size * (0.5 if packed else bytes_each),
            activation_bytes=positions * (read + outputs) * bytes_each,
        )

    def terms(self, multiples: Multiples) -> np.ndarray:
        """Gives the amount of each of `TERMS`, channels rounded up to what the device runs."""
        of_inputs, of_outputs = multiples[self.unit]
        inputs = 1 if self.unit.startswith("depthwise") else _up(self.inputs, of_inputs)
        macs = self.positions * self.area * inputs * _up(self.outputs, of_outputs)
        rest = (1.0, self.activation_bytes, self.weight_bytes)
        return np.array([*(macs * (unit == self.unit) for unit in UNITS), *rest], np.float64)

    def place(self) -> np.ndarray:
        """Gives its sizes on a logarithmic scale, in which near shapes behave alike."""
        return np.log2([self.positions, max(self.area, 1), self.inputs, self.outputs])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(1 if part in ("?", "") else int(part) for part in text.split("x"))


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def term_matrix(shapes: Sequence[LayerShape], multiples: Multiples) -> np.ndarray:
    """Stacks the terms of several shapes, float64 of shape (N, len(TERMS))."""
    return np.stack([shape.terms(multiples) for shape in shapes])
