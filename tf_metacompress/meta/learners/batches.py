"""Tasks checked against a model and made into tensors."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.meta.learners.episode import Episode
from tf_metacompress.meta.learners.network import Network
from tf_metacompress.tasks import FewShotTask, TaskSampler, check_arrays, stack
from tf_metacompress.typing import ArrayPair


def episodes(sampler: TaskSampler, indices: Sequence[int], network: Network) -> Episode:
    """Draws several tasks.

    Args:
        sampler: Gives the task of an index.
        indices: Which tasks.
        network: What will be adapted to them.

    Returns:
        Their halves, with a leading axis of tasks.

    Raises:
        InvalidArgumentError: If a task does not fit the model, or tasks differ in shape.
        ArgumentTypeError: If the sampler gives something else.
    """
    tasks = [_checked(sampler(index), index, network) for index in indices]
    return Episode(*_tensors(stack(tasks), network))


def episode(sampler: TaskSampler, index: int, network: Network) -> Episode:
    """Draws one task; see `episodes`."""
    task = _checked(sampler(index), index, network)
    return Episode(*_tensors((*task.support, *task.query), network))


def support_tensors(support: ArrayPair, network: Network) -> tuple[tf.Tensor, tf.Tensor]:
    """Checks a support set that a user gave.

    Args:
        support: Inputs and labels.
        network: What will be adapted to it.

    Returns:
        Both as tensors.

    Raises:
        InvalidArgumentError: If it does not fit the model.
    """
    x, y = check_arrays("support", *support)
    _check_fits("support", x, y, network)
    return tuple(_tensors((x, y), network))


def _tensors(arrays: Sequence[np.ndarray], network: Network) -> list[tf.Tensor]:
    dtype = network.weights[0].dtype
    return [
        tf.constant(array, tf.int32 if _is_class(array) else dtype, name=f"half_{index}")
        for index, array in enumerate(arrays)
    ]


def _is_class(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.integer)


def _checked(task: FewShotTask, index: int, network: Network) -> FewShotTask:
    if not isinstance(task, FewShotTask):
        raise wrong_type("A sampler must give a FewShotTask.", task=task)
    for half, (x, y) in (("support", task.support), ("query", task.query)):
        _check_fits(f"{half} of task {index}", x, y, network)
    return task


def _check_fits(name: str, x: np.ndarray, y: np.ndarray, network: Network) -> None:
    model = network.model
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and not _fits(x.shape[1:], wanted[1:]):
        raise invalid(
            f"Inputs of the {name} must have the model's input shape.",
            shape=x.shape,
            input_shape=wanted,
        )
    outputs = getattr(model, "output_shape", None)
    if not isinstance(outputs, tuple) or len(outputs) != 2 or outputs[-1] == 1:
        return
    if y.ndim == 1 and _is_class(y) and int(y.max()) >= outputs[-1]:
        raise invalid(
            f"Labels of the {name} must be class indices below the model's outputs.",
            "Give the head an output for each of the classes of a task.",
            largest_label=int(y.max()),
            outputs=outputs[-1],
        )


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in pairs)
