"""What must hold of the examples of a task, and the loss that they are judged by."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import classification_loss
from tf_metacompress.errors import invalid
from tf_metacompress.tasks import Task


def resolve_loss(task: Task) -> Callable[[Any, Any], tf.Tensor]:
    """Finds the loss of a task: its own, the compiled model's, or the one its labels suggest.

    Args:
        task: A task.

    Returns:
        Maps labels and predictions to a scalar.

    Raises:
        InvalidArgumentError: When labels are not class indices and no loss is given.
    """
    given = task.loss or getattr(task.model, "loss", None)
    if given is not None:
        loss = keras.losses.get(given)
        return lambda y, predictions: tf.reduce_mean(loss(y, predictions))
    labels = task.support[1]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise invalid(
            "A task whose labels are not class indices needs a loss.",
            "Pass loss=..., or compile the model.",
            labels_shape=labels.shape,
        )
    return classification_loss(task.model)


def check_inputs(task: Task) -> None:
    """Raises unless the examples have the shape that the model takes.

    Args:
        task: A task.

    Raises:
        InvalidArgumentError: Naming both shapes.
    """
    expected = getattr(task.model, "input_shape", None)
    if not isinstance(expected, tuple) or not expected or isinstance(expected[0], tuple):
        return
    given = task.support[0].shape
    fits = len(given) == len(expected) and all(
        want in (None, got) for want, got in zip(expected[1:], given[1:], strict=True)
    )
    if not fits:
        raise invalid(
            "The examples of a task must have the shape that its model takes.",
            "Give inputs of shape (examples, *model.input_shape[1:]).",
            inputs=given,
            model_takes=expected,
        )


def check_labels(task: Task) -> None:
    """Raises unless class indices lie below the number of outputs.

    Args:
        task: A task.

    Raises:
        InvalidArgumentError: Naming the largest label and the number of outputs.
    """
    shape = getattr(task.model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] == 1:
        return
    for name, (_, labels) in (("support", task.support), ("query", task.resolved_query)):
        is_class = labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
        if is_class and int(labels.max()) >= shape[-1]:
            raise invalid(
                f"Labels of the {name} set must be class indices below the model's outputs.",
                largest_label=int(labels.max()),
                outputs=shape[-1],
            )
