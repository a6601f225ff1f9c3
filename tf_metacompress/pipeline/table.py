"""The closing table as text."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tf_metacompress.pipeline.candidates import Row
from tf_metacompress.text_table import lay_out

WIDTH = 100
_KIB = 1024
_HEADINGS = (
    "accuracy",
    "file KiB",
    "gzip KiB",
    "gzip ratio",
    "zeros",
    "bits",
    "p50 ratio",
    "parity",
)


def latency_ratio_column(latency: Mapping[str, Any]) -> list[float]:
    """Median time of each file as a ratio to the first."""
    return [float(entry["ratio"]) for entry in latency["files"]]


def _cells(row: Row, first: Row, ratio: float) -> tuple[str, ...]:
    return (
        f"{row.accuracy:.4f}",
        f"{row.file_bytes / _KIB:.1f}",
        f"{row.gzip_bytes / _KIB:.1f}",
        f"{row.gzip_bytes / first.gzip_bytes:.3f}",
        f"{row.sparsity:.3f}",
        f"{row.mean_weight_bits:.1f}",
        f"{ratio:.2f}",
        f"{row.parity_error:.1e}" + ("" if row.parity_passed else "!"),
    )


def format_table(rows: Sequence[Row], latency: Mapping[str, Any], title: str) -> str:
    """Lays out the closing table.

    Args:
        rows: Rows of the table, float32 first.
        latency: The comparison of their files.
        title: Line above the table.

    Returns:
        Lines of at most 100 columns; a "!" marks a file that fails the parity gate.
    """
    ratios = latency_ratio_column(latency)
    body = [
        (row.name, *_cells(row, rows[0], ratio)) for row, ratio in zip(rows, ratios, strict=True)
    ]
    failed = [row for row in rows if not row.parity_passed]
    foot = [
        f"! {row.name} does not compute what Keras computes: relative error "
        f"{row.relative_error:.3g}, tolerance {row.tolerance:g}."
        for row in failed
    ]
    return "\n".join([title, "", *lay_out(("policy", *_HEADINGS), body), *foot])


def format_list(heading: str, sentences: Sequence[str]) -> str:
    """Lays out sentences as a list below a heading.

    Args:
        heading: Line above.
        sentences: What to list.

    Returns:
        Lines of at most 100 columns; "" for no sentences.
    """
    if not sentences:
        return ""
    items = [
        textwrap.fill(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")
        for text in sentences
    ]
    return "\n".join([heading, *items])
