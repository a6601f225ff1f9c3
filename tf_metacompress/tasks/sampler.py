"""What a task sampler is: a pure function of a seed and the number of the task."""

from typing import Protocol, runtime_checkable

import numpy as np

from tf_metacompress.errors import check_int
from tf_metacompress.tasks.few_shot_task import FewShotTask


@runtime_checkable
class TaskSampler(Protocol):
    """Gives task number `index` of an endless, reproducible sequence of tasks.

    A sampler has no state: the task depends on its settings, its seed and the index alone, in
    whatever order, process or thread it is asked for. A training run that knows how many tasks it
    has seen therefore resumes exactly, and nothing of the sampler needs saving. Different seeds
    give different sequences, for instance one to train on and one to evaluate.
    """

    @property
    def seed(self) -> int:
        """The seed of the sequence, not negative."""
        ...

    def __call__(self, index: int) -> FewShotTask:
        """Gives one task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task; equal arrays each time for equal `index`.
        """
        ...


def task_generator(seed: int, index: int) -> np.random.Generator:
    """Gives the generator that everything random in one task is drawn from.

    Args:
        seed: Seed of the sampler, not negative.
        index: Number of the task, not negative.

    Returns:
        `np.random.default_rng([seed, index])`.

    Raises:
        InvalidArgumentError: If one is not such an integer.

    Example:
        >>> first, again = (int(task_generator(7, 3).integers(1000)) for _ in range(2))
        >>> first == again
        True
    """
    return np.random.default_rng([check_int("seed", seed, 0), check_int("index", index, 0)])
