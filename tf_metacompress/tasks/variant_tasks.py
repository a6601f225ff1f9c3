"""Tasks that are made of one data set by variants."""

from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import check_int, invalid
from tf_metacompress.tasks.few_shot_task import FewShotTask
from tf_metacompress.tasks.sampler import task_generator
from tf_metacompress.tasks.task import check_arrays
from tf_metacompress.tasks.variant_chain import apply_variants, check_variants
from tf_metacompress.tasks.variants import ClassSubset, Variant


@dataclass(frozen=True, eq=False)
class VariantTasks:
    """Draws tasks from one data set and alters each in its own way, such as a shift of domain.

    A `ClassSubset`, if there is one, is drawn first, then the examples: of class indices as
    evenly as the classes allow, else uniformly. The other variants follow in their order, each
    with a seed drawn for the task, on support and query at once.

    Attributes:
        x: Inputs of shape (N, ...).
        y: Labels of shape (N, ...): class indices, one-hot rows or regression targets.
        num_support: Number of support examples in a task, of all classes together.
        num_queries: Number of query examples in a task, of all classes together.
        variants: Variants; several in a row make a chain, at most one of them a `ClassSubset`.
        seed: Seed of the sequence of tasks.

    Raises:
        ArgumentTypeError: If a variant cannot be called.
        InvalidArgumentError: If the arrays do not fit each other or a variant, a number is out of
            range, or a task could have too few examples.

    Example:
        >>> from tf_metacompress.tasks import ClassSubset, Contrast, Noise
        >>> x, y = np.random.default_rng(0).random((40, 8, 8, 1)), np.arange(40) % 4
        >>> shifts = (ClassSubset(num_ways=2), Contrast(lower=0.3, upper=0.9), Noise(stddev=0.1))
        >>> task = VariantTasks(x, y, num_support=4, num_queries=10, variants=shifts)(0)
        >>> task.query[0].shape, sorted(task.support[1].tolist())
        ((10, 8, 8, 1), [0, 0, 1, 1])
    """

    x: np.ndarray
    y: np.ndarray
    num_support: int
    num_queries: int
    variants: tuple[Variant, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields and draws one task."""
        x, y = check_arrays("task", self.x, self.y)
        for name, minimum in (("num_support", 1), ("num_queries", 1), ("seed", 0)):
            object.__setattr__(self, name, check_int(name, getattr(self, name), minimum))
        given = (self.variants,) if callable(self.variants) else tuple(self.variants)
        subsets = tuple(variant for variant in given if isinstance(variant, ClassSubset))
        others = tuple(variant for variant in given if not isinstance(variant, ClassSubset))
        is_class = y.ndim == 1 and np.issubdtype(y.dtype, np.integer)
        if len(subsets) > 1 or (subsets and not is_class):
            raise invalid(
                "At most one ClassSubset can be drawn, and only from class indices.",
                variants=given,
                labels=f"{y.dtype} of shape {y.shape}",
            )
        values = {
            "x": x,
            "y": y,
            "variants": given,
            "_subset": subsets[0] if subsets else None,
            "_others": check_variants("variants", others),
            "_labels": np.unique(y) if is_class else None,
            "_groups": tuple(np.flatnonzero(y == c) for c in np.unique(y)) if is_class else (),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check_size()
        self(0)

    def __repr__(self) -> str:
        """Shows the shapes of the arrays, and the settings."""
        return (
            f"{type(self).__name__}(x={self.x.shape}, y={self.y.shape}, "
            f"num_support={self.num_support}, num_queries={self.num_queries}, "
            f"variants={self.variants}, seed={self.seed})"
        )

    def __call__(self, index: int) -> FewShotTask:
        """Draws a task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task; its `rows` are rows of `x`, its `classes` the indices in `y` as strings.

        Raises:
            InvalidArgumentError: If `index` is negative or a variant changes the number of
                examples.
        """
        generator = task_generator(self.seed, index)
        size = self.num_support + self.num_queries
        if self._labels is None:
            classes = ()
            rows = generator.choice(len(self.x), size, replace=False)
            y = self.y[rows]
        else:
            positions, labels = self._drawn_classes(generator)
            classes = self._names(positions, labels)
            rows, y = self._drawn_rows(positions, labels, generator)
        x, y = apply_variants(self._others, self.x[rows], y, generator)
        cut = self.num_support
        return FewShotTask(
            support=(x[:cut], y[:cut]),
            query=(x[cut:], y[cut:]),
            classes=classes,
            rows=(rows[:cut], rows[cut:]),
        )

    def _drawn_classes(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the classes in `_groups`, and the labels that they have in the task."""
        positions = np.arange(len(self._labels))
        if self._subset is None:
            return positions, self._labels
        return self._subset(positions, self._labels, int(generator.integers(2**31)))

    def _names(self, positions: np.ndarray, labels: np.ndarray) -> tuple[str, ...]:
        names = [str(label) for label in range(int(labels.max()) + 1)]
        for position, label in zip(positions, labels, strict=True):
            names[label] = str(self._labels[position])
        return tuple(names)

    def _drawn_rows(
        self, positions: np.ndarray, labels: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One row of each class in turn, until there are enough."""
        size = self.num_support + self.num_queries
        rows, turns, y = [], [], []
        for place in generator.permutation(len(positions)):
            group = self._groups[positions[place]]
            drawn = group[generator.choice(len(group), min(len(group), size), replace=False)]
            rows.append(drawn)
            turns.append(np.arange(len(drawn)))
            y.append(np.full(len(drawn), labels[place]))
        order = np.argsort(np.concatenate(turns), kind="stable")[:size]
        return np.concatenate(rows)[order], np.concatenate(y)[order]

    def _check_size(self) -> None:
        """Checks that the smallest classes that can be drawn together are enough."""
        available = len(self.x)
        if self._subset is not None:
            positions, _ = self._drawn_classes(task_generator(self.seed, 0))
            counts = np.array([len(group) for group in self._groups])
            named = self._subset.classes is not None
            kept = counts[positions] if named else np.sort(counts)[: len(positions)]
            available = int(kept.sum())
        if available < self.num_support + self.num_queries:
            raise invalid(
                "A task needs `num_support + num_queries` examples.",
                "Lower them, or draw more classes.",
                num_support=self.num_support,
                num_queries=self.num_queries,
                available=available,
            )
