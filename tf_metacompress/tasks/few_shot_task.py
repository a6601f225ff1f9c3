"""A few-shot task: a few examples to learn from, and others to be judged on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.tasks.task import check_alike, check_pair
from tf_metacompress.typing import ArrayPair


@dataclass(frozen=True, kw_only=True, eq=False)
class FewShotTask:
    """A support set to adapt on and a query set to judge the adapted model on.

    Attributes:
        support: Inputs (N, ...) and labels or targets (N, ...).
        query: Inputs and labels of the same shapes but for the first axis.
        classes: Names of the classes in the order of their labels; empty for regression.
        rows: What identifies each example of support and query in the source they came from,
            arrays of length N; None to tell examples apart by their inputs.

    Raises:
        ArgumentTypeError: If a field has a wrong type.
        InvalidArgumentError: If arrays are empty, not finite or do not fit each other, if a label
            has no class, or if an example is in both sets.

    Example:
        >>> x, y = np.arange(6.0).reshape(6, 1), np.array([0, 1] * 3)
        >>> FewShotTask(support=(x[:2], y[:2]), query=(x[2:], y[2:]), classes=("cat", "dog"))
        FewShotTask(support=(2, 1), query=(4, 1), classes=('cat', 'dog'))
    """

    support: ArrayPair
    query: ArrayPair
    classes: tuple[str, ...] = ()
    rows: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        """Checks the fields and turns the data into arrays."""
        object.__setattr__(self, "support", check_pair("support", self.support))
        object.__setattr__(self, "query", check_pair("query", self.query))
        check_alike(self.support, self.query)
        if isinstance(self.classes, str) or not all(isinstance(c, str) for c in self.classes):
            raise wrong_type("`classes` must be names of classes.", classes=self.classes)
        object.__setattr__(self, "classes", tuple(self.classes))
        for name in ("support", "query"):
            self._check_labels(name)
        if self.rows is not None:
            object.__setattr__(self, "rows", self._checked_rows())
        _check_disjoint(*(self.rows or (self.support[0], self.query[0])))

    def __repr__(self) -> str:
        """Shows the shapes of the inputs, and the classes."""
        shapes = f"support={self.support[0].shape}, query={self.query[0].shape}"
        return f"{type(self).__name__}({shapes}, classes={self.classes})"

    def _check_labels(self, name: str) -> None:
        labels = getattr(self, name)[1]
        if not self.classes:
            return
        present = int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[-1]
        if present > len(self.classes):
            raise invalid(
                f"Every label of the {name} set must have a class.",
                "Name as many classes as there are labels.",
                labels=present,
                classes=self.classes,
            )

    def _checked_rows(self) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(self.rows, tuple | list) or len(self.rows) != 2:
            raise wrong_type("`rows` must be a pair (support, query).", rows=self.rows)
        support, query = (np.asarray(rows) for rows in self.rows)
        for rows, half in ((support, self.support), (query, self.query)):
            if rows.shape[:1] != half[0].shape[:1]:
                raise invalid(
                    "`rows` must identify each example.", rows=rows.shape, examples=len(half[0])
                )
        return support, query


def stack(tasks: Sequence[FewShotTask]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stacks tasks of equal shapes along a new first axis.

    Args:
        tasks: One task or more.

    Returns:
        Inputs and labels of the support sets, then of the query sets, each (tasks, N, ...).

    Raises:
        InvalidArgumentError: If there is no task, or shapes or types of the arrays differ.

    Example:
        >>> x, y = np.arange(6.0).reshape(6, 1), np.array([0, 1] * 3)
        >>> task = FewShotTask(support=(x[:2], y[:2]), query=(x[2:], y[2:]))
        >>> [array.shape for array in stack([task, task, task])]
        [(3, 2, 1), (3, 2), (3, 4, 1), (3, 4)]
    """
    tasks = list(tasks)
    if not tasks:
        raise invalid("At least one task is needed to stack.", tasks=tasks)
    wrong = [task for task in tasks if not isinstance(task, FewShotTask)]
    if wrong:
        raise wrong_type("`tasks` must hold FewShotTasks.", task=wrong[0])
    arrays = [(*task.support, *task.query) for task in tasks]
    forms = [tuple((array.shape, str(array.dtype)) for array in task) for task in arrays]
    for position, form in enumerate(forms):
        if form != forms[0]:
            raise invalid(
                f"Task {position} must have the shapes and types of task 0.",
                "Draw all tasks of a batch with equal numbers of classes and examples.",
                task=form,
                first=forms[0],
            )
    support_x, support_y, query_x, query_y = (np.stack(kind) for kind in zip(*arrays, strict=True))
    return support_x, support_y, query_x, query_y


def _check_disjoint(support: np.ndarray, query: np.ndarray) -> None:
    dtype = np.result_type(support, query)
    places = {key: row for row, key in enumerate(_keys(support, dtype))}
    for row, key in enumerate(_keys(query, dtype)):
        if key in places:
            raise invalid(
                "Support and query must not share an example.",
                "Draw without replacement; pass `rows` if equal inputs are different examples.",
                support_row=places[key],
                query_row=row,
            )


def _keys(values: np.ndarray, dtype: np.dtype) -> list[bytes]:
    flat = np.ascontiguousarray(values, dtype=dtype).reshape(len(values), -1)
    return [row.tobytes() for row in flat]
