"""Variants of an image data set, so that one set of images gives many tasks.

A variant maps `(x, y, seed)` to new `(x, y)`: images of shape (N, H, W, C) and one label per image.
The seed decides what is drawn, so equal seeds give a training and a test set of the same task.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tf_metacompress.errors import check_fraction, check_int, check_positive, invalid
from tf_metacompress.tasks.task import check_arrays
from tf_metacompress.typing import ArrayPair

Variant = Callable[[np.ndarray, np.ndarray, int], ArrayPair]
"""Maps images, labels and a seed to new images and labels."""


@dataclass(frozen=True, kw_only=True)
class ClassSubset:
    """Keeps a few classes and numbers them from 0.

    Attributes:
        num_ways: Number of classes to draw, at least 2; or None when `classes` is given.
        classes: The classes to keep, in the order of their new numbers; or None to draw them.

    Raises:
        InvalidArgumentError: If both or neither are given, or a value is out of range.

    Example:
        >>> x, y = np.zeros((4, 2, 2, 1)), np.array([5, 7, 9, 7])
        >>> ClassSubset(classes=(7, 9))(x, y, 0)[1].tolist()
        [0, 1, 0]
    """

    num_ways: int | None = None
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Checks that one of the two is given."""
        if (self.num_ways is None) == (self.classes is None):
            raise invalid(
                "ClassSubset needs either `num_ways` or `classes`.",
                num_ways=self.num_ways,
                classes=self.classes,
            )
        if self.classes is None:
            check_int("num_ways", self.num_ways, 2)
            return
        classes = tuple(check_int("classes", label, 0) for label in self.classes)
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise invalid("`classes` must name two classes or more, each once.", classes=classes)
        object.__setattr__(self, "classes", classes)

    def __call__(self, x: np.ndarray, y: np.ndarray, seed: int) -> ArrayPair:
        """Gives the images of the kept classes, and their new labels."""
        x, y = _check_labelled(x, y)
        kept = self._kept(np.unique(y), seed)
        chosen = np.isin(y, kept)
        order = np.argsort(kept)
        labels = order[np.searchsorted(kept[order], y[chosen])]
        return x[chosen], labels.astype(y.dtype)

    def _kept(self, present: np.ndarray, seed: int) -> np.ndarray:
        wanted = self.num_ways if self.classes is None else self.classes
        if self.classes is not None:
            if not np.isin(wanted, present).all():
                raise invalid("The data lack a class.", classes=wanted, present=present.tolist())
            return np.array(wanted)
        if wanted > len(present):
            raise invalid("The data have fewer classes.", num_ways=wanted, present=len(present))
        return np.sort(_generator(seed).choice(present, wanted, replace=False))


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Turns all images by one angle, drawn uniformly.

    Attributes:
        degrees: The angle lies in [-degrees, degrees]; above 0.

    Raises:
        InvalidArgumentError: If `degrees` is not above 0.
    """

    degrees: float

    def __post_init__(self) -> None:
        """Checks the angle."""
        check_positive("degrees", self.degrees)

    def __call__(self, x: np.ndarray, y: np.ndarray, seed: int) -> ArrayPair:
        """Gives the turned images, and the labels as they are."""
        x = _check_images(x)
        angle = _generator(seed).uniform(-self.degrees, self.degrees)
        turned = ndimage.rotate(x, angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
        return turned.astype(x.dtype), y


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds normal noise, keeping the images within the range they had.

    Attributes:
        stddev: Standard deviation, in the unit of the images; above 0.

    Raises:
        InvalidArgumentError: If `stddev` is not above 0.
    """

    stddev: float

    def __post_init__(self) -> None:
        """Checks the standard deviation."""
        check_positive("stddev", self.stddev)

    def __call__(self, x: np.ndarray, y: np.ndarray, seed: int) -> ArrayPair:
        """Gives the noisy images, and the labels as they are."""
        x = _check_images(x)
        noisy = x + _generator(seed).normal(0.0, self.stddev, x.shape)
        return np.clip(noisy, x.min(), x.max()).astype(x.dtype), y


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Scales all images about their common mean by one factor, drawn uniformly.

    Attributes:
        lower: Smallest factor, above 0; below 1 greys the images.
        upper: Largest factor, at least `lower`. Values are kept within the range they had.

    Raises:
        InvalidArgumentError: If a factor is not above 0, or they are in the wrong order.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        """Checks the factors."""
        check_positive("lower", self.lower)
        check_positive("upper", self.upper)
        if self.upper < self.lower:
            raise invalid("`upper` must not be below `lower`.", lower=self.lower, upper=self.upper)

    def __call__(self, x: np.ndarray, y: np.ndarray, seed: int) -> ArrayPair:
        """Gives the scaled images, and the labels as they are."""
        x = _check_images(x)
        factor = _generator(seed).uniform(self.lower, self.upper)
        mean = x.mean(dtype=np.float64)
        scaled = mean + (x - mean) * factor
        return np.clip(scaled, x.min(), x.max()).astype(x.dtype), y


def split(x: np.ndarray, y: np.ndarray, fraction: float, seed: int) -> tuple[ArrayPair, ArrayPair]:
    """Splits a data set in two, at random, each class alike when the labels are class indices.

    Args:
        x: Inputs of shape (N, ...).
        y: Labels of shape (N, ...).
        fraction: Share of the examples, of each class, that goes to the first part; in (0, 1).
        seed: Decides which examples go where.

    Returns:
        The two parts, each a pair of inputs and labels in their first order.

    Raises:
        InvalidArgumentError: If the arrays do not fit each other, or a part would be empty.

    Example:
        >>> first, second = split(np.arange(8.0), np.array([0, 1] * 4), 0.5, seed=0)
        >>> sorted(first[1].tolist()), sorted(second[1].tolist())
        ([0, 0, 1, 1], [0, 0, 1, 1])
    """
    x, y = check_arrays("split", x, y)
    fraction = check_fraction("fraction", fraction)
    is_class = y.ndim == 1 and np.issubdtype(y.dtype, np.integer)
    groups = (
        [np.flatnonzero(y == label) for label in np.unique(y)] if is_class else [np.arange(len(y))]
    )
    generator = _generator(seed)
    chosen = np.zeros(len(y), dtype=bool)
    for group in groups:
        chosen[generator.permutation(group)[: round(fraction * len(group))]] = True
    if chosen.all() or not chosen.any():
        raise invalid(
            "Both parts of a split must hold examples.",
            "Pass a fraction in (0, 1) and more examples.",
            fraction=fraction,
            examples=len(y),
        )
    return (x[chosen], y[chosen]), (x[~chosen], y[~chosen])


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(check_int("seed", seed, 0))


def _check_images(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 4 or not x.size or not np.issubdtype(x.dtype, np.floating):
        raise invalid(
            "Images must be floats of shape (N, H, W, C).", shape=x.shape, dtype=str(x.dtype)
        )
    return x


def _check_labelled(x: np.ndarray, y: np.ndarray) -> ArrayPair:
    x, y = check_arrays("variant", x, y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise invalid(
            "Labels must be class indices of shape (N,).", shape=y.shape, dtype=str(y.dtype)
        )
    return x, y
