"""Chains of variants, applied to the examples of one task."""

from collections.abc import Sequence

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.tasks.variants import ClassSubset, Variant
from tf_metacompress.typing import ArrayPair


def check_variants(name: str, given: Variant | Sequence[Variant]) -> tuple[Variant, ...]:
    """Checks variants that shall be applied to examples already drawn.

    Args:
        name: Name of the argument, for messages.
        given: One variant or several.

    Returns:
        A tuple of them.

    Raises:
        ArgumentTypeError: If one cannot be called.
        InvalidArgumentError: If one draws classes.
    """
    variants = (given,) if callable(given) else tuple(given)
    for variant in variants:
        if not callable(variant):
            raise wrong_type(
                f"`{name}` must hold variants (x, y, seed) -> (x, y).", variant=variant
            )
        if isinstance(variant, ClassSubset):
            raise invalid(f"`{name}` must keep the classes.", "Set `num_ways`.", variant=variant)
    return variants


def apply_variants(
    variants: tuple[Variant, ...], x: np.ndarray, y: np.ndarray, generator: np.random.Generator
) -> ArrayPair:
    """Applies variants one after the other.

    Args:
        variants: The variants.
        x: Inputs.
        y: Labels.
        generator: Where the seed of each variant is drawn from.

    Returns:
        The new inputs and labels, as many as before.

    Raises:
        InvalidArgumentError: If a variant changes the number of examples.
    """
    size = len(x)
    for variant in variants:
        x, y = variant(x, y, int(generator.integers(2**31)))
        if len(x) != size or len(y) != size:
            raise invalid(
                "A variant of a drawn task must keep the number of examples.",
                variant=variant,
                before=size,
                after=len(x),
            )
    return x, y
