"""Meta-Curvature: inner gradients pass through a learned preconditioner."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid
from tf_metacompress.meta.learners.maml import MAML
from tf_metacompress.meta.learners.network import Tensors


class MetaCurvature(MAML):
    """MAML with one learned matrix for each axis of a kernel, which mixes its gradient.

    A gradient of shape (h, w, input, output) is taken as (h·w, input, output) and multiplied by a
    matrix along each of the three axes; a bias along its one. All matrices start as the identity,
    so that learning starts from MAML.

    Paper: Park, Oliva 2019, arXiv:1902.03356.

    Args:
        model: A built Keras 3 model; see `MetaLearner`.
        **kwargs: Passed to `MAML`.

    Raises:
        InvalidArgumentError: If the options ask for learned rates besides.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        if self.options.learn_inner_lr:
            raise invalid("Meta-Curvature scales gradients already.", learn_inner_lr=True)
        self._num_axes = []
        for index in self.inner_weights:
            sizes = _modes(self.network.weights[index].shape)
            self._num_axes.append(len(sizes))
            for axis, size in enumerate(sizes):
                self.add_extra(f"curvature_{index}_{axis}", np.eye(size))

    def changes(
        self, extras: Tensors, step: int, gradients: Sequence[tf.Tensor]
    ) -> Sequence[tf.Tensor]:
        """Each gradient, mixed along its axes, times the inner rate."""
        del step
        remaining, changes = iter(extras), []
        for gradient, num_axes in zip(gradients, self._num_axes, strict=True):
            matrices = [next(remaining) for _ in range(num_axes)]
            changes.append(self.inner_lr * precondition(gradient, matrices))
        return changes


def _modes(shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes of the axes that get a matrix: space as one axis, input, output."""
    shape = tuple(shape)
    return shape if len(shape) < 3 else (int(np.prod(shape[:-2])), *shape[-2:])


def precondition(gradient: tf.Tensor, matrices: Sequence[tf.Tensor]) -> tf.Tensor:
    """Multiplies a gradient by a matrix along each of its axes.

    Args:
        gradient: Any shape; of more than two axes, all but the last two count as one.
        matrices: One for each axis, square.

    Returns:
        Tensor of the shape of `gradient`.
    """
    mixed = tf.reshape(gradient, _modes(gradient.shape))
    for axis, matrix in enumerate(matrices):
        mixed = tf.tensordot(matrix, mixed, [[1], [axis]])
        order = [*range(1, axis + 1), 0, *range(axis + 1, len(mixed.shape))]
        mixed = tf.transpose(mixed, order)
    return tf.reshape(mixed, gradient.shape)
