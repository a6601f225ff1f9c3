"""Tasks from a `tf.data.Dataset`."""

from dataclasses import InitVar, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from tf_metacompress.errors import check_int, invalid, wrong_type
from tf_metacompress.tasks.few_shot_task import FewShotTask
from tf_metacompress.tasks.variant_tasks import VariantTasks
from tf_metacompress.typing import ArrayPair

_INFINITE = -1  # tf.data.INFINITE_CARDINALITY


@dataclass(frozen=True, eq=False)
class DatasetTasks:
    """Draws tasks from the examples of a `tf.data.Dataset`, which is read once, into memory.

    Tasks are drawn as `VariantTasks` does without variants.

    Attributes:
        dataset: Gives pairs (x, y), of one example or of a batch; anything else that has
            `as_numpy_iterator` will do.
        num_support: Number of support examples in a task, of all classes together.
        num_queries: Number of query examples in a task, of all classes together.
        seed: Seed of the sequence of tasks.
        num_examples: How many examples to read at most; None for all. Needed when the data set
            is infinite.
        batched: Whether the pairs are batches; None to take them for batches when the first x has
            as many rows as the first y.
        x: The inputs that were read.
        y: The labels that were read.

    Raises:
        ArgumentTypeError: If `dataset` is no data set, or does not give pairs.
        InvalidArgumentError: If it is infinite, empty, or holds too few examples for a task.

    Example:
        >>> from tf_metacompress.tasks import DatasetTasks
        >>> class Pairs:
        ...     def as_numpy_iterator(self):
        ...         return iter([(np.full(2, i), i % 2) for i in range(12)])
        >>> DatasetTasks(Pairs(), num_support=4, num_queries=6)(0)
        FewShotTask(support=(4, 2), query=(6, 2), classes=('0', '1'))
    """

    dataset: InitVar[Any]
    num_support: int
    num_queries: int
    seed: int = 0
    num_examples: InitVar[int | None] = None
    batched: InitVar[bool | None] = None
    x: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)

    def __post_init__(self, dataset: Any, num_examples: int | None, batched: bool | None) -> None:
        """Reads the data set."""
        if not callable(getattr(dataset, "as_numpy_iterator", None)):
            raise wrong_type(
                "`dataset` must be a tf.data.Dataset.",
                "Pass arrays to VariantTasks or ClassArrays.",
                dataset=dataset,
            )
        if num_examples is not None:
            num_examples = check_int("num_examples", num_examples, 1)
        elif int(getattr(dataset, "cardinality", lambda: 0)()) == _INFINITE:
            raise invalid(
                "`dataset` must be finite.",
                "Pass `num_examples`, or leave out `repeat()`.",
                dataset=dataset,
            )
        x, y = _read(dataset, num_examples, batched)
        tasks = VariantTasks(x, y, self.num_support, self.num_queries, seed=self.seed)
        for name in ("num_support", "num_queries", "seed", "x", "y"):
            object.__setattr__(self, name, getattr(tasks, name))
        object.__setattr__(self, "_tasks", tasks)

    def __repr__(self) -> str:
        """Shows the shapes of what was read, and the settings."""
        return (
            f"{type(self).__name__}(x={self.x.shape}, y={self.y.shape}, "
            f"num_support={self.num_support}, num_queries={self.num_queries}, seed={self.seed})"
        )

    def __call__(self, index: int) -> FewShotTask:
        """Draws a task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task; its `rows` are places in the data set.

        Raises:
            InvalidArgumentError: If `index` is negative.
        """
        return self._tasks(index)


def _read(dataset: Any, num_examples: int | None, batched: bool | None) -> ArrayPair:
    pairs = dataset.as_numpy_iterator()
    first = next(iter(pairs), None)
    if first is None:
        raise invalid("`dataset` must not be empty.", dataset=dataset)
    x, y = _pair(first)
    if batched is None:
        batched = 0 < y.ndim <= 2 and x.shape[:1] == y.shape[:1]
    parts, total = [(x, y)], len(x) if batched else 1
    while num_examples is None or total < num_examples:
        following = list(islice(pairs, 1))
        if not following:
            break
        parts.append(_pair(following[0]))
        total += len(parts[-1][0]) if batched else 1
    join = np.concatenate if batched else np.stack
    try:
        inputs, labels = (join(values)[:num_examples] for values in zip(*parts, strict=True))
    except ValueError as error:
        raise invalid(
            f"The examples of `dataset` must have one shape: {error}.",
            "Resize or pad them.",
            first=x.shape,
        ) from error
    return inputs, labels


def _pair(element: Any) -> ArrayPair:
    if not isinstance(element, tuple) or len(element) != 2 or isinstance(element[0], dict):
        raise wrong_type("`dataset` must give pairs (x, y) of arrays.", element=element)
    return np.asarray(element[0]), np.asarray(element[1])
