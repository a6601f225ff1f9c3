"""Which statistics BatchNormalization uses while a model adapts to a few examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import check_choice
from tf_metacompress.layer_tree import Call, leaf_layers, redirect

STATISTICS = ("inference", "batch", "support")


class Statistics:
    """Has the BatchNormalization layers of a model use chosen statistics, exact to second order.

    TensorFlow stops a gradient inside the variance of a batch, so that second-order gradients
    through Keras's layer in training are wrong by some percent. Here mean and variance are plain
    sums, which are exact to any order.

    Args:
        kind: "inference" for the moving statistics that the model has; "batch" for those of each
            batch, query examples seeing each other; "support" for those of the support set, for
            support and query examples alike, which is what can be deployed.
        model: A built model, whose BatchNormalization layers are redirected for good, those of a
            user's own class excepted. Do so before compressors are attached.
    """

    def __init__(self, kind: str, model: keras.Model) -> None:
        self.kind = check_choice("batch_norm", kind, STATISTICS)
        self._num_rows: int | None = None
        self._momentum: float | None = None
        leaves = leaf_layers(model).values()
        self.layers = [x for x in leaves if type(x) is keras.layers.BatchNormalization]
        if kind == "inference":
            return
        for layer in self.layers:
            redirect(layer, lambda _, layer=layer: self._call(layer))

    @property
    def moves(self) -> bool:
        """Whether any layer computes statistics of its own."""
        return self.kind != "inference" and bool(self.layers)

    @contextmanager
    def of_first(self, num_rows: int | None) -> Iterator[None]:
        """Takes statistics from the first rows of each batch inside a `with` block.

        Args:
            num_rows: How many rows are support examples; None for all.
        """
        before, self._num_rows = self._num_rows, num_rows
        try:
            yield
        finally:
            self._num_rows = before

    @contextmanager
    def moving(self, momentum: float) -> Iterator[None]:
        """Has layers note their statistics in their moving averages inside a `with` block.

        Args:
            momentum: Weight of the old average; 0 replaces it.
        """
        self._momentum = momentum
        try:
            yield
        finally:
            self._momentum = None

    def _call(self, layer: keras.layers.BatchNormalization) -> Call:
        def call_with_statistics(
            inputs: Any, training: bool | None = None, mask: Any = None
        ) -> Any:
            del training, mask
            return self._normalized(layer, inputs)

        return call_with_statistics

    def _normalized(self, layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> tf.Tensor:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = tf.cast(inputs, dtype)
        axis = layer.axis % len(x.shape)
        others = [index for index in range(len(x.shape)) if index != axis]
        rows = x if self.kind == "batch" or self._num_rows is None else x[: self._num_rows]
        mean = tf.reduce_mean(rows, others, keepdims=True)
        variance = tf.reduce_mean(tf.square(rows - mean), others, keepdims=True)
        if self._momentum is not None:
            self._move(layer.moving_mean, mean)
            self._move(layer.moving_variance, variance)
        factor = tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            factor *= _along(layer.gamma, mean)
        y = (x - mean) * factor
        if layer.center:
            y += _along(layer.beta, mean)
        return tf.cast(y, layer.compute_dtype)

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        new = tf.reshape(tf.stop_gradient(value), average.shape)
        old = tf.cast(tf.convert_to_tensor(average), new.dtype)
        average.assign(old * self._momentum + new * (1.0 - self._momentum))


def _along(weight: keras.Variable, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(tf.convert_to_tensor(weight), like.dtype), like.shape)
