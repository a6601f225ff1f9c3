"""What is meta-trained on and what is kept for judging: families, sources and ratios."""

import math

import numpy as np

from tf_metacompress.errors import check_choice
from tf_metacompress.pipeline.zoo.families import FAMILIES

SPLITS: tuple[str, ...] = ("train", "test")
META_TEST_FAMILIES: tuple[str, ...] = ("inverted", "squeeze_excite")
META_TRAIN_FAMILIES: tuple[str, ...] = tuple(f for f in FAMILIES if f not in META_TEST_FAMILIES)
META_TEST_SOURCES: tuple[str, ...] = ("fashion_mnist",)
META_TEST_RATIOS: tuple[float, ...] = (0.25, 0.10, 0.05, 0.03)
SMALLEST_RATIO, LARGEST_RATIO = 0.02, 0.5
HARD = 3.0
"""Most that a ratio to train on is, as a multiple of the smallest that can be reached."""
KEPT_APART = 0.02
"""Least relative distance of a ratio to train on from every ratio to judge on."""


def split_of_source(name: str) -> str:
    """Says whether a data source is meta-trained on or judged on.

    Args:
        name: Name of the source; any name but those of `META_TEST_SOURCES` is trained on.

    Returns:
        "train" or "test".
    """
    return "test" if name in META_TEST_SOURCES else "train"


def families_of(split: str) -> tuple[str, ...]:
    """Gives the families of a split."""
    check_choice("split", split, SPLITS)
    return META_TRAIN_FAMILIES if split == "train" else META_TEST_FAMILIES


def kept_apart(ratio: float) -> bool:
    """Says whether a ratio is far enough from every ratio to judge on."""
    return all(abs(ratio - other) > KEPT_APART * other for other in META_TEST_RATIOS)


def draw_ratio(generator: np.random.Generator, smallest: float = SMALLEST_RATIO) -> float:
    """Draws a ratio to train on, log-uniformly, away from those to judge on.

    None is much larger than what can be reached: where any policy keeps the accuracy, nothing is
    learned.

    Args:
        generator: Where it is drawn from.
        smallest: Smallest that can be reached, below `LARGEST_RATIO`.

    Returns:
        A ratio in [smallest, min(HARD · smallest, LARGEST_RATIO)] for which `kept_apart` holds.

    Example:
        >>> kept_apart(draw_ratio(np.random.default_rng(0)))
        True
    """
    low = min(max(smallest, SMALLEST_RATIO), LARGEST_RATIO)
    high = min(HARD * low, LARGEST_RATIO)
    while True:
        ratio = min(math.exp(generator.uniform(math.log(low), math.log(high))), high)
        if kept_apart(ratio):
            return ratio
