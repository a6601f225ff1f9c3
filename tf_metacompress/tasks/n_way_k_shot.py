"""N-way K-shot classification tasks."""

from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import check_int, invalid
from tf_metacompress.tasks.class_source import ClassSource, check_source
from tf_metacompress.tasks.few_shot_task import FewShotTask
from tf_metacompress.tasks.sampler import task_generator
from tf_metacompress.tasks.variant_chain import apply_variants, check_variants
from tf_metacompress.tasks.variants import Variant


@dataclass(frozen=True, eq=False)
class NWayKShot:
    """Draws tasks of a few classes with a few examples each (arXiv:1606.04080).

    A task has `num_ways` classes in random order, labelled 0, 1, …. Its examples come class by
    class in turn (0, 1, 2, 0, 1, 2, …), so that the first `n * num_ways` are balanced for any n.

    Attributes:
        source: Where classes and examples come from.
        num_ways: Number of classes in a task, at least 2.
        num_shots: Number of support examples of each class, at least 1.
        num_queries: Number of query examples of each class, at least 1.
        seed: Seed of the sequence of tasks.
        augment: Variants, such as `Noise(stddev=0.1)`, that are applied one after the other to
            support and query at once, each with a seed drawn for the task.

    Raises:
        ArgumentTypeError: If `source` is no ClassSource or a variant cannot be called.
        InvalidArgumentError: If a number is out of range, or the source has too few classes or a
            class too few examples.

    Example:
        >>> x, y = np.random.default_rng(0).random((80, 8, 8, 1)), np.arange(80) % 4
        >>> from tf_metacompress.tasks import ClassArrays
        >>> sampler = NWayKShot(ClassArrays(x, y), num_ways=3, num_shots=2, num_queries=5)
        >>> task = sampler(0)
        >>> task.support[0].shape, task.query[0].shape, task.support[1].tolist()
        ((6, 8, 8, 1), (15, 8, 8, 1), [0, 1, 2, 0, 1, 2])
        >>> sampler(0).classes == task.classes
        True
    """

    source: ClassSource
    num_ways: int
    num_shots: int
    num_queries: int = 15
    seed: int = 0
    augment: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        """Checks that every task can be drawn."""
        check_source(self.source)
        for name, minimum in (("num_ways", 2), ("num_shots", 1), ("num_queries", 1), ("seed", 0)):
            object.__setattr__(self, name, check_int(name, getattr(self, name), minimum))
        object.__setattr__(self, "augment", check_variants("augment", self.augment))
        names = tuple(self.source.classes)
        if len(names) < self.num_ways:
            raise invalid(
                "The source must have at least `num_ways` classes.",
                "Lower `num_ways` or add classes.",
                num_ways=self.num_ways,
                classes=len(names),
            )
        needed = self.num_shots + self.num_queries
        for name in names:
            if self.source.count(name) < needed:
                raise invalid(
                    f"Each class must have `num_shots + num_queries` = {needed} examples.",
                    "Lower them, or leave the class out with SomeClasses.",
                    name=name,
                    examples=self.source.count(name),
                )

    def __call__(self, index: int) -> FewShotTask:
        """Draws a task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task; its `rows` are pairs (position of the class in the source, row in the class).

        Raises:
            InvalidArgumentError: If `index` is negative, or a variant changes the number of
                examples.
        """
        generator = task_generator(self.seed, index)
        names = self.source.classes
        chosen = generator.choice(len(names), self.num_ways, replace=False)
        classes = tuple(names[position] for position in chosen)
        size = self.num_shots + self.num_queries
        rows = np.stack(
            [generator.choice(self.source.count(name), size, replace=False) for name in classes],
            axis=1,
        )
        drawn = [self.source.examples(name, rows[:, way]) for way, name in enumerate(classes)]
        x = np.stack(drawn, axis=1).reshape(size * self.num_ways, *drawn[0].shape[1:])
        y = np.tile(np.arange(self.num_ways), size)
        x, y = apply_variants(self.augment, x, y, generator)
        identity = np.stack([np.tile(chosen, size), rows.ravel()], axis=1)
        cut = self.num_shots * self.num_ways
        return FewShotTask(
            support=(x[:cut], y[:cut]),
            query=(x[cut:], y[cut:]),
            classes=classes,
            rows=(identity[:cut], identity[cut:]),
        )
