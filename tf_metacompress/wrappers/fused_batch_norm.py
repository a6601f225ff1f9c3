"""BatchNormalization in training through one fused kernel, several times faster on a CPU."""

from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.layer_tree import Call, is_redirected, leaf_layers, redirect, restore

BatchNormalization = keras.layers.BatchNormalization
_RANK = 4


def fuse_batch_norms(model: keras.Model) -> list[BatchNormalization]:
    """Has the BatchNormalization layers of a model train through TensorFlow's fused kernel.

    Keras computes moments, normalisation and their gradients in about twenty elementwise passes
    over the activations; the fused kernel gives the same numbers in a few. This pays for what the
    masks and the rounding cost. Inference, and every layer that the kernel does not cover (another
    rank or axis, a mask, float64, synchronised or renormalised), computes as Keras does. Layers
    that are redirected already are left alone.

    Args:
        model: A built Keras 3 model, whose BatchNormalization layers are redirected. Do so before
            compressors are attached, which then act around it.

    Returns:
        The redirected layers, to be given to `restore_batch_norms`.
    """
    found = [layer for layer in leaf_layers(model).values() if _is_plain(layer)]
    for layer in found:
        redirect(layer, lambda call, layer=layer: _fused_call(layer, call))
    return found


def restore_batch_norms(layers: list[BatchNormalization]) -> None:
    """Gives layers back the calls they had before `fuse_batch_norms`."""
    for layer in layers:
        restore(layer)


def _is_plain(layer: keras.layers.Layer) -> bool:
    if type(layer) is not BatchNormalization or not layer.built or is_redirected(layer):
        return False
    return not (getattr(layer, "renorm", False) or layer.synchronized)


def _fits(layer: BatchNormalization, inputs: Any) -> bool:
    rank = len(inputs.shape)
    # Half precision is computed in float32, as Keras does; the kernel knows no float64.
    return rank == _RANK and layer.axis in (-1, rank - 1) and inputs.dtype != tf.float64


def _fused_call(layer: BatchNormalization, call: Call) -> Call:
    def fused_call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and layer.trainable) or mask is not None or not _fits(layer, inputs):
            return call(inputs, training=training, mask=mask)
        return _train(layer, inputs)

    return fused_call


def _train(layer: BatchNormalization, inputs: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    channels = x.shape[-1]
    gamma = _float32(layer.gamma) if layer.scale else tf.ones([channels])
    beta = _float32(layer.beta) if layer.center else tf.zeros([channels])
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The kernel reports the variance of the population; Keras keeps that of the batch.
    size = tf.cast(tf.size(x), tf.float32) / channels
    _move(layer.moving_mean, mean, layer.momentum)
    _move(layer.moving_variance, variance * (size - 1.0) / size, layer.momentum)
    return tf.cast(y, layer.compute_dtype)


def _move(average: keras.Variable, value: tf.Tensor, momentum: float) -> None:
    average.assign(_float32(average) * momentum + value * (1.0 - momentum))


def _float32(variable: keras.Variable) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
