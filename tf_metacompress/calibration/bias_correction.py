"""Rounding moves the mean of a channel; its bias moves it back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.layer_tree import Call, leaf_layers, redirected
from tf_metacompress.wrappers import CompressedModel, LayerCompressor

_Adjust = Callable[[str, tf.Tensor], tf.Tensor]


def correct_biases(
    student: CompressedModel, reference: keras.Model, inputs: Any
) -> tuple[str, ...]:
    """Shifts each channel of a compressed layer to the mean it has in the float model.

    Layers are corrected in the order they run, each behind those corrected already. A layer without
    a bias is corrected through the BatchNormalization behind it; one with neither, or one that is
    called several times, stays as it is.

    Paper: Nagel et al. 2019, arXiv:1906.04721.

    Args:
        student: What `compress` returned. Its biases are changed.
        reference: The same network, not compressed.
        inputs: One batch.

    Returns:
        Paths of the layers that were corrected.
    """
    correctors = {c.plan.layer: c for c in student.compressors if _is_rounded(c)}
    expected: dict[str, list[np.ndarray]] = {}

    def note(path: str, result: tf.Tensor) -> tf.Tensor:
        expected.setdefault(path, []).append(_channel_means(correctors[path].layer, result))
        return result

    _run_linear(reference, correctors, note, inputs)
    corrected = []

    def correct(path: str, result: tf.Tensor) -> tf.Tensor:
        compressor = correctors[path]
        if len(expected[path]) != 1:
            return result
        shift = expected[path][0] - _channel_means(compressor.layer, result)
        if not _shift(compressor, student, shift):
            return result
        corrected.append(path)
        has_bias = getattr(compressor.layer, "bias", None) is not None
        return result if not has_bias else result + _along_channels(compressor.layer, result, shift)

    with _open_ranges(student):
        _run_linear(student.network, correctors, correct, inputs)
    return tuple(corrected)


def _is_rounded(compressor: LayerCompressor) -> bool:
    return bool(compressor.kernels) and compressor.plan.weight_bits < 32


def _channel_axis(layer: keras.layers.Layer, rank: int) -> int:
    return 1 if getattr(layer, "data_format", "") == "channels_first" else rank - 1


def _channel_means(layer: keras.layers.Layer, result: tf.Tensor) -> np.ndarray:
    values = np.asarray(result, np.float64)
    axis = _channel_axis(layer, values.ndim)
    return values.mean(axis=tuple(other for other in range(values.ndim) if other != axis))


def _along_channels(layer: keras.layers.Layer, result: tf.Tensor, shift: np.ndarray) -> tf.Tensor:
    extents = [1] * len(result.shape)
    extents[_channel_axis(layer, len(extents))] = -1
    return tf.cast(shift.reshape(extents), result.dtype)


def _shift(compressor: LayerCompressor, student: CompressedModel, shift: np.ndarray) -> bool:
    """Moves the bias, or the mean that BatchNormalization subtracts; False when there is none."""
    bias = getattr(compressor.layer, "bias", None)
    if bias is not None:
        fits = tuple(bias.shape) == shift.shape
        if fits:
            bias.assign(bias.numpy() + shift)
        return fits
    if compressor.batch_norm is None:
        return False
    moving_mean = leaf_layers(student.network)[compressor.batch_norm].moving_mean
    moving_mean.assign(moving_mean.numpy() - shift)
    return True


@contextmanager
def _open_ranges(student: CompressedModel) -> Iterator[None]:
    """Lets results pass whole; a ReLU, which its range stands for, still clips."""
    ranges = {
        c.plan.layer: c.output_range
        for c in student.compressors
        if c.output_range is not None and not c.only_clips
    }

    def passing(path: str, layer: keras.layers.Layer, call: Call) -> Call:
        return lambda inputs, training=False: inputs

    with redirected(ranges, passing):
        yield


def _run_linear(
    network: keras.Model, correctors: dict[str, LayerCompressor], adjust: _Adjust, inputs: Any
) -> None:
    """Runs a network, handing the result of each layer to `adjust` before its activation."""

    def wrap(path: str, layer: keras.layers.Layer, call: Call) -> Call:
        def linear_call(*args: Any, **kwargs: Any) -> Any:
            activation = getattr(layer, "activation", None)
            if activation is None:
                return adjust(path, call(*args, **kwargs))
            layer.activation = keras.activations.linear
            try:
                result = call(*args, **kwargs)
            finally:
                layer.activation = activation
            return activation(adjust(path, result))

        return linear_call

    layers = leaf_layers(network)
    with redirected({path: layers[path] for path in correctors}, wrap):
        network(inputs, training=False)
