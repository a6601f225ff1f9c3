"""The straight-through estimator that every rounding in this package uses."""

import tensorflow as tf


def straight_through(x: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns `value` going forward and the gradient of `x` going back.

    The forward result is `value` bit for bit. Built from ordinary ops, so second-order gradients
    are exact, which TensorFlow's own fake-quant ops do not offer.

    Paper: Bengio, Léonard, Courville 2013, arXiv:1308.3432.

    Args:
        x: Tensor that receives the gradient, any shape, floating.
        value: Tensor of the same shape and dtype, used as the result.

    Returns:
        Tensor equal to `value`, whose derivative with respect to `x` is one.

    Example:
        >>> x = tf.constant([0.4, 1.6])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = tf.reduce_sum(straight_through(x, tf.round(x)) ** 2)
        >>> float(y), tape.gradient(y, x).numpy().tolist()
        (4.0, [0.0, 4.0])
    """
    return tf.stop_gradient(value) + (x - tf.stop_gradient(x))


def straight_through_within(x: tf.Tensor, value: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """Returns `value` going forward and the gradient of `x` going back where it was not clipped.

    Args:
        x: Tensor that receives the gradient, any shape, floating.
        value: Tensor of the same shape and dtype, used as the result.
        inside: Bool of the same shape, False where `x` was clipped and gets no gradient.

    Returns:
        Tensor equal to `value`.

    Example:
        >>> x = tf.constant([0.4, 9.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = straight_through_within(x, tf.constant([0.0, 1.0]), x < 1.0)
        >>> tape.gradient(y, x).numpy().tolist()
        [1.0, 0.0]
    """
    passed = tf.where(inside, x, tf.stop_gradient(x))
    return tf.stop_gradient(value) + (passed - tf.stop_gradient(x))
