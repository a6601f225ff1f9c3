"""Progress bars with an estimate of the time left."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    iterable: Iterable[Item],
    *,
    total: int | None = None,
    description: str = "",
    quiet: bool = False,
    force: bool = False,
) -> Iterator[Item]:
    """Iterates while showing a bar with counts, rate and time left on stderr.

    The bar appears on a terminal only, so that logs stay readable.

    Args:
        iterable: What to iterate over.
        total: Number of items, when `iterable` has no length.
        description: Words shown before the bar.
        quiet: Whether to show nothing at all.
        force: Whether to show the bar even when stderr is not a terminal.

    Yields:
        The items of `iterable`.

    Example:
        >>> sum(progress(range(4), description="adding", quiet=True))
        6
    """
    hidden = quiet or not (force or sys.stderr.isatty())
    yield from tqdm(
        iterable,
        total=total,
        desc=description or None,
        disable=hidden,
        file=sys.stderr,
        dynamic_ncols=True,
    )
