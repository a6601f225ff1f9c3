"""Turned images as classes of their own, as is customary with Omniglot."""

import re
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.errors import check_choice, invalid
from tf_metacompress.tasks.class_source import ClassSource, check_class, check_source

_TURNED = re.compile(r"@(90|180|270)$")


@dataclass(frozen=True, eq=False)
class RotatedClasses:
    """Makes a class of each turn of the square images of a class (arXiv:1605.06065).

    Attributes:
        source: Source of square images of shape (H, W, C).
        quarter_turns: Turns by a quarter, anticlockwise, out of 0, 1, 2 and 3.
        classes: Names of the classes; "a" turned once is "a@90", not turned "a".

    Raises:
        ArgumentTypeError: If `source` is no ClassSource.
        InvalidArgumentError: If the images are not square, a turn is none of the four or is
            repeated, or the source has turned classes already.

    Example:
        >>> from tf_metacompress.tasks import ClassArrays
        >>> images = np.array([[[1, 2], [3, 4]]]).reshape(1, 2, 2, 1)
        >>> turned = RotatedClasses(ClassArrays(images, np.array([0])), (0, 1))
        >>> turned.classes
        ('0', '0@90')
        >>> turned.examples("0@90", np.array([0]))[0, :, :, 0].tolist()
        [[2.0, 4.0], [1.0, 3.0]]
    """

    source: ClassSource
    quarter_turns: tuple[int, ...] = (0, 1, 2, 3)
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Checks the turns, and one image of the source."""
        check_source(self.source)
        turns = tuple(check_choice("quarter_turns", t, range(4)) for t in self.quarter_turns)
        if not turns or len(set(turns)) < len(turns):
            raise invalid("`quarter_turns` must hold a turn or more, each once.", turns=turns)
        turned = [name for name in self.source.classes if _TURNED.search(name)]
        if turned:
            raise invalid(
                "The classes of the source must not be turned already.",
                "Pass all `quarter_turns` at once.",
                name=turned[0],
            )
        made = {
            f"{name}@{90 * turn}" if turn else name: (name, turn)
            for name in self.source.classes
            for turn in turns
        }
        object.__setattr__(self, "quarter_turns", turns)
        object.__setattr__(self, "classes", tuple(made))
        object.__setattr__(self, "_origins", made)
        self.examples(self.classes[0], np.array([0]))

    def __repr__(self) -> str:
        """Shows the source and the turns."""
        return f"{type(self).__name__}({self.source!r}, quarter_turns={self.quarter_turns})"

    def count(self, name: str) -> int:
        """Gives how many examples a class has, as `ClassArrays.count` does."""
        return self.source.count(self._origin(name)[0])

    def examples(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Gives examples of a class, as `ClassArrays.examples` does; refuses oblong images."""
        base, turn = self._origin(name)
        images = self.source.examples(base, rows)
        if images.ndim != 4 or images.shape[1] != images.shape[2]:
            raise invalid(
                "Only square images of shape (H, H, C) can be turned into new classes.",
                "Crop or resize them.",
                name=name,
                shape=images.shape[1:],
            )
        return np.ascontiguousarray(np.rot90(images, turn, axes=(1, 2)))

    def _origin(self, name: str) -> tuple[str, int]:
        if name not in self._origins:
            check_class(self, name)
        return self._origins[name]


def base_class(name: str) -> str:
    """Gives the class that a class of `RotatedClasses` was made from.

    Args:
        name: Name of a class, turned or not.

    Returns:
        The name without its turn.

    Example:
        >>> base_class("Greek/character01@270"), base_class("Greek/character01")
        ('Greek/character01', 'Greek/character01')
    """
    return _TURNED.sub("", name)
