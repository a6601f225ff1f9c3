"""Rows of text in columns, for tables on a terminal."""

from collections.abc import Sequence


def lay_out(header: Sequence[str], rows: Sequence[Sequence[str]], num_left: int = 1) -> list[str]:
    """Aligns cells in columns below a header and a rule.

    Args:
        header: Words above the columns.
        rows: Cells, as many a row as the header has.
        num_left: Columns aligned to the left; the others are aligned to the right.

    Returns:
        Lines: the header, a rule, the rows.

    Example:
        >>> for line in lay_out(("name", "bits"), [("conv", "8"), ("head", "32")]):
        ...     print(line)
        name  bits
        ----------
        conv     8
        head    32
    """
    table = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < num_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
