"""What must hold of the examples of a task, and the loss that they are judged by."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import classification_loss
from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.tasks import Task


def resolve_loss(task: Task) -> Callable[[Any, Any], tf.Tensor]:
    """Finds the loss of a task: its own, the compiled model's, or the one its labels suggest.

    Args:
        task: A task.

    Returns:
        Maps labels and predictions to a scalar.

    Raises:
        InvalidArgumentError: When there is no such loss, or none is given and labels are not class
            indices.
    """
    given = task.loss or getattr(task.model, "loss", None)
    if given is not None:
        loss = _loss_of(given)
        return lambda y, predictions: tf.reduce_mean(loss(y, predictions))
    labels = task.support[1]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise invalid(
            "A task whose labels are not class indices needs a loss.",
            "Pass loss=..., or compile the model.",
            labels_shape=labels.shape,
        )
    return classification_loss(task.model)


def _loss_of(given: Any) -> Callable[..., Any]:
    """The one loss that a name or a function means."""
    try:
        loss = keras.losses.get(given)
    except (TypeError, ValueError) as error:
        raise invalid(
            "The loss of a task must be a function, or a name that Keras knows.",
            "Pass loss=..., for example 'sparse_categorical_crossentropy'.",
            loss=given,
        ) from error
    if not callable(loss):
        raise invalid(
            "The loss of a task must be one loss.", "Pass loss=... to the Task.", loss=given
        )
    return loss


def check_task(task: Any) -> None:
    """Raises unless there is a task, with examples enough to try policies on.

    Args:
        task: Any object.

    Raises:
        ArgumentTypeError: If it is not a `Task`.
        InvalidArgumentError: If one support example would have to be halved.
    """
    if not isinstance(task, Task):
        raise wrong_type("`task` must be a Task.", task=task)
    if task.query is None and len(task.support[0]) < 2:
        raise invalid(
            "A task needs two support examples or more, or a query set: policies are tried on one "
            "half of the support set and judged on the other.",
            "Give some hundred examples.",
            support_examples=len(task.support[0]),
        )


def check_examples(task: Task) -> Callable[[Any, Any], tf.Tensor]:
    """Raises unless examples, model and loss of a task fit each other; asked before any work.

    Args:
        task: A task.

    Returns:
        The loss, from `resolve_loss`.

    Raises:
        InvalidArgumentError: Naming both sides.
    """
    _check_ends(task)
    _check_inputs(task)
    _check_labels(task)
    return resolve_loss(task)


def _check_ends(task: Task) -> None:
    """One array in and one out, but for a loss of the task's own, which may join several."""
    ends = {end: len(getattr(task.model, end, None) or ()) for end in ("inputs", "outputs")}
    if ends["inputs"] > 1 or (ends["outputs"] > 1 and not callable(task.loss)):
        raise invalid(
            "The model of a task must have one input and one output.",
            "Propose without a support set, or wrap it in a model that joins them.",
            **ends,
        )


def _check_inputs(task: Task) -> None:
    """The examples have the shape that the model takes."""
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


def _check_labels(task: Task) -> None:
    """Class indices lie below the number of outputs."""
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
