"""One task as tensors, and the losses on its two halves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from tf_metacompress.meta.learners.network import Network, Tensors

LossFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Episode(NamedTuple):
    """The halves of one task; with a leading axis each, of several tasks."""

    support_x: tf.Tensor
    support_y: tf.Tensor
    query_x: tf.Tensor
    query_y: tf.Tensor


@dataclass(frozen=True)
class EpisodeLoss:
    """The two losses of a task as functions of the weights.

    Attributes:
        network: Computes the outputs.
        inner: Maps labels and outputs of support examples to a loss; what adaptation lowers.
        outer: Maps labels and outputs of query examples to a loss; what meta-training lowers.
    """

    network: Network
    inner: LossFunction
    outer: LossFunction

    def support(self, weights: Tensors, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Loss that adaptation lowers, a scalar."""
        return tf.reduce_mean(self.inner(y, self.network(weights, x)))

    def predict(self, weights: Tensors, episode: Episode) -> tf.Tensor:
        """Outputs of the query examples."""
        statistics = self.network.statistics
        if statistics.kind != "support" or not statistics.moves:
            return self.network(weights, episode.query_x)
        num_support = episode.support_x.shape[0]
        together = tf.concat([episode.support_x, episode.query_x], 0)
        return self.network(weights, together, num_support)[num_support:]

    def query(self, weights: Tensors, episode: Episode) -> tuple[tf.Tensor, tf.Tensor]:
        """Loss that meta-training lowers, a scalar, and the outputs it was taken on."""
        outputs = self.predict(weights, episode)
        return tf.reduce_mean(self.outer(episode.query_y, outputs)), outputs


def accuracy(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Share of outputs whose largest entry is the label; NaN when labels are not class indices.

    Args:
        y: Labels, of shape (N,) or (N, 1).
        outputs: Outputs of shape (N, classes), at least two classes.

    Returns:
        Scalar, float32.
    """
    if not y.dtype.is_integer or tuple(y.shape[1:]) not in ((), (1,)):
        return tf.constant(float("nan"))
    if len(outputs.shape) != 2 or outputs.shape[1] == 1:
        return tf.constant(float("nan"))
    found = tf.argmax(outputs, -1, output_type=y.dtype)
    return tf.reduce_mean(tf.cast(found == tf.reshape(y, [-1]), tf.float32))
