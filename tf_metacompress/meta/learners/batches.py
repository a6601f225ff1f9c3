"""Tasks checked against a model and made into tensors."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.meta.learners.episode import Episode
from tf_metacompress.meta.learners.network import Network
from tf_metacompress.tasks import FewShotTask, TaskSampler, check_arrays, stack
from tf_metacompress.typing import ArrayPair


def check_sampler(name: str, sampler: TaskSampler, network: Network) -> None:
    """Checks a sampler and its first task, before any work.

    Args:
        name: Name of the argument, for messages.
        sampler: What the user passed.
        network: What will be adapted to its tasks.

    Raises:
        ArgumentTypeError: If it is no sampler.
        InvalidArgumentError: If its first task does not fit the model.
    """
    if not callable(sampler):
        raise wrong_type(f"`{name}` must give the task of an index.", **{name: sampler})
    _checked(sampler(0), 0, network)


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
        ArgumentTypeError: If it is no pair.
        InvalidArgumentError: If it does not fit the model.
    """
    if not isinstance(support, tuple | list) or len(support) != 2:
        raise wrong_type("`support` must be a pair (inputs, labels).", support=support)
    x, y = check_arrays("support", *support)
    _check_fits("support", x, y, network)
    return tuple(_tensors((x, y), network))


def _tensors(arrays: Sequence[np.ndarray], network: Network) -> list[tf.Tensor]:
    """Halves in the order inputs, labels, inputs, labels, …, as tensors."""
    floating = network.weights[0].dtype
    kinds = [network.input_dtype, None] * (len(arrays) // 2)
    return [
        tf.constant(array, kind or (tf.int32 if _is_class(array) else floating))
        for array, kind in zip(arrays, kinds, strict=True)
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
    outputs = network.output_shape(x)
    if len(outputs) != 2 or outputs[-1] == 1 or not _is_class(y):
        return
    if y.shape[1:] in ((), (1,)) and int(y.max()) >= outputs[-1]:
        raise invalid(
            f"Labels of the {name} must be class indices below the model's outputs.",
            "Give the head an output for each of the classes of a task.",
            largest_label=int(y.max()),
            outputs=outputs[-1],
        )


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in pairs)
