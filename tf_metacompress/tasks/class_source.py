"""Sources of examples by class: what N-way tasks are drawn from."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from tf_metacompress.errors import did_you_mean, invalid, wrong_type
from tf_metacompress.tasks.task import check_arrays


@runtime_checkable
class ClassSource(Protocol):
    """Examples that are found by the name of their class and their row in it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, each once, in a fixed order."""
        ...

    def count(self, name: str) -> int:
        """Gives how many examples a class has."""
        ...

    def examples(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Gives the examples of a class in these rows, float32 of shape (len(rows), ...)."""
        ...


@dataclass(frozen=True, eq=False)
class ClassArrays:
    """The classes of a data set in memory.

    Attributes:
        x: Inputs of shape (N, ...), numbers; not copied.
        y: Class indices of shape (N,).
        names: Name of each class index, or None for the index itself.
        classes: Names of the classes that have examples, in the order of their index.

    Raises:
        InvalidArgumentError: If the arrays do not fit each other, labels are not class indices, or
            a label has no name.

    Example:
        >>> source = ClassArrays(np.arange(6.0), np.array([0, 1, 1, 0, 1, 1]), ("cat", "dog"))
        >>> source
        ClassArrays(2 classes, 6 examples of shape ())
        >>> source.count("dog"), source.examples("dog", np.array([0, 3])).tolist()
        (4, [1.0, 5.0])
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Checks the arrays and sorts the rows by class."""
        x, y = check_arrays("class", self.x, self.y)
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
            raise invalid(
                "Labels must be class indices of shape (N,).",
                "Pass `y.argmax(-1)` for one-hot labels.",
                shape=y.shape,
                dtype=str(y.dtype),
            )
        labels, starts = np.unique(np.sort(y), return_index=True)
        rows = np.split(np.argsort(y, kind="stable"), starts[1:])
        classes = self._names_of(labels)
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "_rows", dict(zip(classes, rows, strict=True)))

    def __repr__(self) -> str:
        """Shows how much there is."""
        shape = f"{len(self.x)} examples of shape {self.x.shape[1:]}"
        return f"{type(self).__name__}({len(self.classes)} classes, {shape})"

    def count(self, name: str) -> int:
        """Gives how many examples a class has.

        Args:
            name: Name of the class.

        Returns:
            The number of examples, at least 1.

        Raises:
            InvalidArgumentError: If there is no such class.
        """
        return len(self._rows_of(name))

    def examples(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Gives examples of a class.

        Args:
            name: Name of the class.
            rows: Which of its examples, counted from 0 in the order of the arrays.

        Returns:
            Inputs as float32, of shape (len(rows), ...).

        Raises:
            InvalidArgumentError: If there is no such class.
        """
        return self.x[self._rows_of(name)[rows]].astype(np.float32, copy=False)

    def _rows_of(self, name: str) -> np.ndarray:
        if name not in self._rows:
            check_class(self, name)
        return self._rows[name]

    def _names_of(self, labels: np.ndarray) -> tuple[str, ...]:
        if self.names is None:
            return tuple(str(label) for label in labels.tolist())
        names = tuple(self.names)
        if labels[-1] >= len(names) or len(set(names)) < len(names):
            raise invalid(
                "`names` must name every class index, each differently.",
                names=names,
                largest_index=int(labels[-1]),
            )
        object.__setattr__(self, "names", names)
        return tuple(names[label] for label in labels)


@dataclass(frozen=True, eq=False)
class SomeClasses:
    """Some classes of a source.

    Attributes:
        source: The source.
        classes: Names of the classes to keep, in the order they shall have.

    Raises:
        ArgumentTypeError: If `source` is no ClassSource.
        InvalidArgumentError: If `classes` is empty, names one twice, or one the source lacks.

    Example:
        >>> source = ClassArrays(np.arange(6.0), np.array([0, 1, 2, 0, 1, 2]))
        >>> SomeClasses(source, ("2", "0"))
        SomeClasses(2 of the 3 classes of ClassArrays)
    """

    source: ClassSource
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks that the classes exist."""
        check_source(self.source)
        classes = (self.classes,) if isinstance(self.classes, str) else tuple(self.classes)
        if not classes or len(set(classes)) < len(classes):
            raise invalid("`classes` must name one class or more, each once.", classes=classes)
        for name in classes:
            check_class(self.source, name)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "_kept", frozenset(classes))

    def __repr__(self) -> str:
        """Shows how much was kept of what."""
        origin = f"{len(self.source.classes)} classes of {type(self.source).__name__}"
        return f"{type(self).__name__}({len(self.classes)} of the {origin})"

    def count(self, name: str) -> int:
        """Gives how many examples a class has, as `ClassArrays.count` does."""
        return self.source.count(self._checked(name))

    def examples(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Gives examples of a class, as `ClassArrays.examples` does."""
        return self.source.examples(self._checked(name), rows)

    def _checked(self, name: str) -> str:
        if name not in self._kept:
            check_class(self, name)
        return name


def check_source(source: ClassSource) -> None:
    """Checks that an object is a source of classes.

    Args:
        source: Anything.

    Raises:
        ArgumentTypeError: If it is none.
    """
    if not isinstance(source, ClassSource):
        raise wrong_type(
            "`source` must have `classes`, `count` and `examples`.",
            "Wrap arrays in ClassArrays(x, y), files in ImageFolder(path).",
            source=source,
        )


def check_class(source: ClassSource, name: str) -> None:
    """Checks that a source has a class.

    Args:
        source: The source.
        name: Name of the class.

    Raises:
        InvalidArgumentError: If it has none of that name; a near name is suggested.
    """
    if name not in source.classes:
        raise invalid(
            f"The class must be one of the {len(source.classes)} of the source.",
            did_you_mean(name, source.classes),
            name=name,
        )
