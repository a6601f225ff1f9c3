"""How many bytes a kernel, and the file around it, will take after export.

Two sizes matter: `flash`, the bytes of the `.tflite` file, and `download`, its bytes after gzip.
The share of a kernel is found by pruning and quantising it and compressing the bytes that the file
would store; the share of what surrounds the kernels, by a linear model fitted on 301 exported files
of 10 to 510 KB (plain, depthwise-separable, inverted-residual, residual and dense nets; normal,
heavy-tailed and trained weights; sparsities up to 0.99; 4 and 8 bits, mixed too). On those the
estimate was off by at most 2.5 % of the file and 7 % of the download; 0.9 and 2.7 % in root mean
square, with no bias on small files. Those files held two zero points a channel, of weight and bias;
now equal vectors of them are stored once, and the model counts one for each number of channels.
What a file lost by that lies within 0.7 % of the file of what the estimate did, on 18 nets.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.policy.action import Action

MAX_SAMPLE = 65_536
"""Weights of one kernel that are compressed to estimate its download size."""

_BLOCK = 4_096
_GZIP_LEVEL = 9
_FAST = 4
_INT8_LEVELS = 127
_PACKED_BITS = 4

_PACKED_GROWTH, _SPREAD_GROWTH = 1.04, 1.07
"""Growth of 4-bit kernels, packed or not, when gzip codes them together with the other data."""


@dataclass(frozen=True, kw_only=True)
class ByteModel:
    """Bytes of a file beside its kernels.

    Attributes:
        per_file: Bytes of an empty model.
        per_kernel: Bytes of the tensors and the operator around one kernel.
        per_channel: Bytes of the scales and bias of an output channel.
        per_empty_channel: The same of a channel that holds zeros only.
        per_zero_point: Bytes of a zero point, in vectors that kernels with equally many channels
            share.
    """

    per_file: float
    per_kernel: float
    per_channel: float
    per_empty_channel: float
    per_zero_point: float = 0.0


QUANTIZED_DOWNLOAD = ByteModel(
    per_file=740.0, per_kernel=170.0, per_channel=11.4, per_empty_channel=3.6
)
QUANTIZED_FLASH = ByteModel(
    per_file=260.0,
    per_kernel=890.0,
    per_channel=12.0,
    per_empty_channel=12.0,
    per_zero_point=8.0,
)
FLOAT_DOWNLOAD = ByteModel(per_file=740.0, per_kernel=125.0, per_channel=3.7, per_empty_channel=3.7)
FLOAT_FLASH = ByteModel(per_file=60.0, per_kernel=790.0, per_channel=4.0, per_empty_channel=4.0)


def quantized_bytes(
    kernel: np.ndarray,
    action: Action,
    channel_axis: Sequence[int],
    *,
    packed_int4: bool = False,
) -> tuple[float, float]:
    """Estimates what one kernel takes in an exported file under an action.

    The kernel is pruned by magnitude and put on the symmetric grid of each output channel, whose
    step is `max|w| / (2 ** (bits - 1) - 1)`. Scales and bias of the channels are counted in, but
    not their zero points, which kernels share. The structure of the zeros is not looked at.

    Args:
        kernel: Weights, with BatchNorm folded in, any shape.
        action: Sparsity and bits; 32 and 16 bits store floats.
        channel_axis: Axes kept when quantising per output channel; empty for one scale in all.
        packed_int4: Whether two weights of 4 bits share a byte, as in the file of a Dense layer;
            otherwise each takes one, as in all others.

    Returns:
        Bytes after gzip, and bytes in the file.

    Raises:
        InvalidArgumentError: If the kernel is empty or not finite, or an axis does not exist.

    Example:
        >>> download, flash = quantized_bytes(np.eye(64), Action(sparsity=0.9), (1,))
        >>> download < flash
        True
    """
    return KernelSizer(kernel, channel_axis, packed_int4=packed_int4).quantized_bytes(action)


class KernelSizer:
    """Sizes one kernel under many actions, sharing what they have in common.

    Pruning by magnitude leaves the largest weight of a channel in place unless it empties the
    channel, so the grid, and with it every kept integer, does not depend on the sparsity.

    Args:
        kernel: Weights, with BatchNorm folded in, any shape.
        channel_axis: Axes kept when quantising per output channel; empty for one scale in all.
        packed_int4: Whether two weights of 4 bits share a byte in the file.

    Raises:
        InvalidArgumentError: If the kernel is empty or not finite, or an axis does not exist.
    """

    def __init__(
        self, kernel: np.ndarray, channel_axis: Sequence[int], *, packed_int4: bool = False
    ) -> None:
        kernel = np.asarray(kernel, dtype=np.float32)
        if not kernel.size or not np.isfinite(kernel).all():
            raise invalid("A kernel must be non-empty and finite.", shape=kernel.shape)
        axes = tuple(channel_axis)
        if any(not 0 <= axis < kernel.ndim for axis in axes):
            raise invalid(
                "`channel_axis` must name axes of the kernel.", axes=axes, shape=kernel.shape
            )
        others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
        largest = np.abs(kernel).max(axis=others, keepdims=True)
        self._sorted = np.sort(np.abs(kernel), axis=None)
        self._channels = np.sort(largest, axis=None)
        self._whole = _Weights(
            values=_file_order(kernel, axes),
            largest=_file_order(np.broadcast_to(largest, kernel.shape), axes),
        )
        self._sample = self._whole.sample()
        self._packed_int4 = packed_int4

    def quantized_bytes(self, action: Action) -> tuple[float, float]:
        """Gives bytes after gzip and in the file, with scales and bias."""
        around = self.channel_bytes(action)
        return self.download_bytes(action) + around[0], self.flash_bytes(action) + around[1]

    def download_bytes(self, action: Action) -> float:
        """Gives bytes of the weights alone after gzip.

        A large kernel is compressed quickly as a whole and thoroughly in part.
        """
        sampled = self._stored(self._sample, action)
        compressed = self._growth(action) * len(zlib.compress(sampled, _GZIP_LEVEL))
        if self._sample is self._whole:
            return compressed
        whole = self._stored(self._whole, action)
        return compressed * len(zlib.compress(whole, _FAST)) / len(zlib.compress(sampled, _FAST))

    def flash_bytes(self, action: Action) -> float:
        """Gives bytes of the weights alone in the file, where zeros take as much as others."""
        packed = self._packed_int4 and action.weight_bits == _PACKED_BITS
        bits = action.weight_bits if packed else max(action.weight_bits, 8)
        return float(math.ceil(self._whole.values.size * bits / 8))

    def channel_bytes(self, action: Action) -> tuple[float, float]:
        """Gives bytes of scales and bias after gzip and in the file."""
        empty = int(np.searchsorted(self._channels, self._threshold(action), side="right"))
        models = (QUANTIZED_DOWNLOAD, QUANTIZED_FLASH)
        if action.weight_bits > 8:
            models = (FLOAT_DOWNLOAD, FLOAT_FLASH)
        download, flash = (
            model.per_channel * (self._channels.size - empty) + model.per_empty_channel * empty
            for model in models
        )
        return download, flash

    def _stored(self, weights: "_Weights", action: Action) -> bytes:
        bits = action.weight_bits
        levels = weights.levels(self._threshold(action), bits)
        if bits >= 8:
            return levels.tobytes()
        if bits == _PACKED_BITS and self._packed_int4:
            return _packed(levels)
        # Units of an int8 kernel between two levels of the coarser grid.
        return (levels * np.int8(_INT8_LEVELS // (2 ** (bits - 1) - 1))).tobytes()

    def _growth(self, action: Action) -> float:
        if action.weight_bits >= 8:
            return 1.0
        packed = action.weight_bits == _PACKED_BITS and self._packed_int4
        return _PACKED_GROWTH if packed else _SPREAD_GROWTH

    def _threshold(self, action: Action) -> float:
        """Gives the magnitude up to which weights are removed; negative when none are."""
        if not isinstance(action, Action):
            raise wrong_type("`action` must be an Action.", action=action)
        removed = min(round(action.sparsity * self._sorted.size), self._sorted.size - 1)
        return float(self._sorted[removed - 1]) if removed else -1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Weights:
    """Weights in the order of the file, and beside each the largest magnitude of its channel."""

    values: np.ndarray
    largest: np.ndarray

    def sample(self) -> "_Weights":
        """Takes evenly spaced blocks, or everything when that is not more."""
        if self.values.size <= MAX_SAMPLE:
            return self
        starts = np.linspace(0, self.values.size - _BLOCK, MAX_SAMPLE // _BLOCK).astype(np.int64)
        picked = (starts[:, None] + np.arange(_BLOCK)).ravel()
        return _Weights(values=self.values[picked], largest=self.largest[picked])

    def levels(self, threshold: float, weight_bits: int) -> np.ndarray:
        """Prunes and quantises the weights: to integers up to 8 bits, else to floats."""
        kept = np.where(np.abs(self.values) > threshold, self.values, np.float32(0.0))
        if weight_bits > 8:
            return kept.astype(np.float16 if weight_bits == 16 else np.float32)
        step = self.largest / (2 ** (weight_bits - 1) - 1)
        return np.rint(kept / np.where(step > 0.0, step, 1.0)).astype(np.int8)


def _packed(levels: np.ndarray) -> bytes:
    """Packs integers of 4 bits two to a byte."""
    nibbles = np.append(levels, np.zeros(levels.size % 2, np.int8)).view(np.uint8) & 0x0F
    return (nibbles[0::2] | (nibbles[1::2] << 4)).tobytes()


def _file_order(array: np.ndarray, channel_axis: tuple[int, ...]) -> np.ndarray:
    """Flattens a kernel as the file does: output channels first, but for depthwise kernels."""
    ordered = np.moveaxis(array, channel_axis[0], 0) if len(channel_axis) == 1 else array
    return ordered.ravel()
