"""How many bytes a kernel, and the file around it, will take after export.

Two sizes matter: `flash`, the bytes of the `.tflite` file, and `download`, its bytes after gzip.
The kernel's share is found by pruning and quantising it and running the compressor on the bytes as
the file stores them; the share of the file around it (scales, biases, tensor and operator tables)
by a linear model fitted on exported files.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.policy.action import Action

MAX_SAMPLE = 65_536
"""Weights of one kernel that are compressed to estimate its download size."""

_BLOCK = 4_096


@dataclass(frozen=True, kw_only=True)
class ByteModel:
    """Bytes as a linear function of what a file holds.

    Attributes:
        per_file: Bytes of an empty model.
        per_kernel: Bytes of the tensors and operators around one kernel.
        per_channel: Bytes of the scales, zero points and bias of one output channel.
        per_byte: Bytes per byte of the kernels' own, compressed or not.
    """

    per_file: float
    per_kernel: float
    per_channel: float
    per_byte: float = 1.0


QUANTIZED_DOWNLOAD = ByteModel(per_file=1_000.0, per_kernel=150.0, per_channel=10.0)
QUANTIZED_FLASH = ByteModel(per_file=2_000.0, per_kernel=700.0, per_channel=28.0)
FLOAT_DOWNLOAD = ByteModel(per_file=1_000.0, per_kernel=150.0, per_channel=3.7)
FLOAT_FLASH = ByteModel(per_file=2_000.0, per_kernel=500.0, per_channel=4.0)


def quantized_bytes(
    kernel: np.ndarray, action: Action, channel_axis: Sequence[int]
) -> tuple[float, float]:
    """Estimates what one kernel takes in an exported file under an action.

    The kernel is pruned by magnitude and put on the symmetric grid of each output channel, whose
    step is `max|w| / (2 ** (bits - 1) - 1)`. Scales, zero points and bias of the channels are
    counted in.

    Args:
        kernel: Weights, with BatchNorm folded in, any shape.
        action: Sparsity and bits; 32 and 16 bits store floats.
        channel_axis: Axes kept when quantising per output channel.

    Returns:
        Bytes after gzip, and bytes in the file.

    Raises:
        InvalidArgumentError: If the kernel is empty or not finite, or an axis does not exist.

    Example:
        >>> download, flash = quantized_bytes(np.eye(64), Action(sparsity=0.9), (1,))
        >>> download < flash
        True
    """
    return KernelSizer(kernel, channel_axis).quantized_bytes(action)


class KernelSizer:
    """Sizes one kernel under many actions, sharing what they have in common.

    Pruning by magnitude leaves the largest weight of a channel in place unless it empties the
    channel, so the grid, and with it every kept integer, does not depend on the sparsity.

    Args:
        kernel: Weights, with BatchNorm folded in, any shape.
        channel_axis: Axes kept when quantising per output channel.

    Raises:
        InvalidArgumentError: If the kernel is empty or not finite, or an axis does not exist.
    """

    def __init__(self, kernel: np.ndarray, channel_axis: Sequence[int]) -> None:
        kernel = np.asarray(kernel, dtype=np.float32)
        if not kernel.size or not np.isfinite(kernel).all():
            raise invalid("A kernel must be non-empty and finite.", shape=kernel.shape)
        axes = tuple(channel_axis)
        if not axes or any(not 0 <= axis < kernel.ndim for axis in axes):
            raise invalid(
                "`channel_axis` must name axes of the kernel.",
                channel_axis=axes,
                shape=kernel.shape,
            )
        self.size = kernel.size
        self.num_channels = int(np.prod([kernel.shape[axis] for axis in axes]))
        others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
        largest = np.abs(kernel).max(axis=others, keepdims=True)
        picked = _sample(kernel.size)
        self._values = _file_order(kernel, axes)[picked]
        self._largest = _file_order(np.broadcast_to(largest, kernel.shape), axes)[picked]
        self._order = np.sort(np.abs(kernel), axis=None)

    def quantized_bytes(self, action: Action) -> tuple[float, float]:
        """Gives bytes after gzip and in the file, with scales, zero points and bias."""
        if not isinstance(action, Action):
            raise wrong_type("`action` must be an Action.", action=action)
        models = (QUANTIZED_DOWNLOAD, QUANTIZED_FLASH)
        if action.weight_bits > 8:
            models = (FLOAT_DOWNLOAD, FLOAT_FLASH)
        download, flash = (
            stored * model.per_byte + self.num_channels * model.per_channel
            for stored, model in zip(self.stored_bytes(action), models, strict=True)
        )
        return download, flash

    def stored_bytes(self, action: Action) -> tuple[float, float]:
        """Gives bytes after gzip and in the file, of the weights alone."""
        stored = _packed(self._on_grid(action), action.weight_bits)
        download = len(zlib.compress(stored, 9)) * self.size / self._values.size
        return download, self.size * action.weight_bits / 8

    def _on_grid(self, action: Action) -> np.ndarray:
        removed = min(round(action.sparsity * self.size), self.size - 1)
        threshold = self._order[removed - 1] if removed else -1.0
        kept = np.where(np.abs(self._values) > threshold, self._values, np.float32(0.0))
        if action.weight_bits > 8:
            return kept
        step = self._largest / (2 ** (action.weight_bits - 1) - 1)
        return np.rint(kept / np.where(step > 0.0, step, 1.0)).astype(np.int8)


def _file_order(array: np.ndarray, channel_axis: tuple[int, ...]) -> np.ndarray:
    """Flattens a kernel as the file does: output channels first, but for depthwise kernels."""
    ordered = np.moveaxis(array, channel_axis[0], 0) if len(channel_axis) == 1 else array
    return ordered.ravel()


def _sample(size: int) -> np.ndarray | slice:
    """Picks all weights, or evenly spaced blocks of them."""
    if size <= MAX_SAMPLE:
        return slice(None)
    starts = np.linspace(0, size - _BLOCK, MAX_SAMPLE // _BLOCK).astype(np.int64)
    return (starts[:, None] + np.arange(_BLOCK)).ravel()


def _packed(values: np.ndarray, weight_bits: int) -> bytes:
    """Packs values as a `.tflite` file stores them."""
    if weight_bits == 16:
        return values.astype(np.float16).tobytes()
    if weight_bits == 4:
        nibbles = np.append(values, np.zeros(values.size % 2, np.int8)).view(np.uint8) & 0x0F
        return (nibbles[0::2] | (nibbles[1::2] << 4)).tobytes()
    return values.tobytes()
