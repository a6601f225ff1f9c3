"""Splits of the classes of a source, without a leak from one part to the other."""

from collections.abc import Callable, Collection

import numpy as np

from tf_metacompress.errors import (
    check_fraction,
    check_int,
    did_you_mean,
    invalid,
    wrong_type,
)
from tf_metacompress.tasks.class_source import ClassSource, SomeClasses, check_source
from tf_metacompress.tasks.rotated_classes import base_class


def split_classes(
    source: ClassSource,
    *,
    test_groups: Collection[str] | None = None,
    test_fraction: float | None = None,
    group_of: Callable[[str], str] | None = None,
    seed: int = 0,
) -> tuple[SomeClasses, SomeClasses]:
    """Splits a source into classes to train on and classes to test on.

    Classes of one group stay together, and so do all turns that `RotatedClasses` made of a class,
    whatever `group_of` says: it is asked for the name without the turn.

    Args:
        source: The source.
        test_groups: Names of the groups to test on; or None to draw them.
        test_fraction: Share of the groups to test on, in (0, 1); None when `test_groups` is given.
        group_of: Gives the group of a class, such as its alphabet; None makes each class a group.
        seed: Decides which groups are drawn.

    Returns:
        The classes to train on and those to test on, each in the order of the source.

    Raises:
        ArgumentTypeError: If `source` is no ClassSource or `group_of` cannot be called.
        InvalidArgumentError: If both or neither of `test_groups` and `test_fraction` are given, a
            group does not exist, or a part would be empty.

    Example:
        >>> from tf_metacompress.tasks import ClassArrays
        >>> names = ("Greek/a", "Greek/b", "Latin/a", "Latin/b")
        >>> source = ClassArrays(np.arange(8.0), np.arange(8) % 4, names)
        >>> train, test = split_classes(
        ...     source, test_groups=["Latin"], group_of=lambda name: name.split("/")[0]
        ... )
        >>> train.classes, test.classes
        (('Greek/a', 'Greek/b'), ('Latin/a', 'Latin/b'))
    """
    check_source(source)
    if (test_groups is None) == (test_fraction is None):
        raise invalid(
            "A split needs either `test_groups` or `test_fraction`.",
            test_groups=test_groups,
            test_fraction=test_fraction,
        )
    if group_of is not None and not callable(group_of):
        raise wrong_type("`group_of` must map a class to its group.", group_of=group_of)
    groups = {}
    for name in source.classes:
        base = base_class(name)
        groups[name] = base if group_of is None else group_of(base)
    known = tuple(dict.fromkeys(groups.values()))
    if test_groups is None:
        chosen = _drawn(known, check_fraction("test_fraction", test_fraction), seed)
    else:
        chosen = _named(known, test_groups)
    train = tuple(name for name in source.classes if groups[name] not in chosen)
    test = tuple(name for name in source.classes if groups[name] in chosen)
    if not train or not test:
        raise invalid(
            "Both parts of a split must hold classes.",
            "Take fewer or more groups to test on.",
            groups=len(known),
            groups_to_test_on=len(chosen),
        )
    return SomeClasses(source, train), SomeClasses(source, test)


def _drawn(known: tuple[str, ...], fraction: float, seed: int) -> set[str]:
    order = np.random.default_rng(check_int("seed", seed, 0)).permutation(len(known))
    return {known[place] for place in order[: round(fraction * len(known))]}


def _named(known: tuple[str, ...], wanted: Collection[str]) -> set[str]:
    chosen = {wanted} if isinstance(wanted, str) else set(wanted)
    for group in sorted(chosen - set(known), key=repr):
        raise invalid(
            f"A group to test on must be one of the {len(known)} of the source.",
            did_you_mean(group, known),
            group=group,
        )
    return chosen
