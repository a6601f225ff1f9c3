"""Rows as JSON data and Markdown, and which of them is the smallest that keeps the target."""

import os
import platform

from tf_metacompress.atomic import write_json, write_text

_LONG_NAMES = "†"
_HEADER = (
    "| policy | channels | gzip B | file B | accuracy | choice | others | MACs | keeps target |",
    "|---|---|---|---|---|---|---|---|---|",
)


def smallest(rows, target, measure="gzip_bytes"):
    """The row of least size that keeps the target on the examples to choose by.

    Args:
        rows: Rows of one reference model.
        target: Accuracy to keep.
        measure: Which size.

    Returns:
        A row, or None where none keeps it.
    """
    keeping = [row for row in rows if row["choice_accuracy"] >= target]
    return min(keeping, key=lambda row: (row[measure], -row["choice_accuracy"]), default=None)


def build(found):
    """Everything the table shows.

    Args:
        found: For each reference model its name, target, caveat, reference file, rows and latency.

    Returns:
        JSON data.
    """
    for part in found:
        kept = {
            measure: smallest(part["rows"], part["target"], measure)
            for measure in ("gzip_bytes", "file_bytes")
        }
        part["smallest"] = {measure: row and row["name"] for measure, row in kept.items()}
    return {"machine": platform.machine(), "cpus": os.cpu_count(), "models": found}


def markdown(document):
    """The tables.

    Args:
        document: What `build` gave.

    Returns:
        Markdown.
    """
    return "\n".join(line for part in document["models"] for line in _section(part))


def _section(part):
    reference, rows = part["reference"], part["rows"]
    yield f"### {part['name']}, target {part['target']:.0%}"
    yield ""
    yield from _HEADER
    yield _line("reference file (int8)", {**reference, "width": 1.0}, part["target"])
    for row in sorted(rows, key=lambda row: row["gzip_bytes"]):
        yield _line(row["name"], row, part["target"])
    yield ""
    yield f"The float model has {reference['float_accuracy']:.2%}. {part['caveat']}"
    if not all(row.get("slim") for row in rows):
        yield f"Rows with {_LONG_NAMES} hold the converter's tensor names, which `slim` shortens."
    for measure, words in (("gzip_bytes", "after gzip"), ("file_bytes", "as a file")):
        yield _conclusion(part, measure, words)
    yield from _latency(part.get("latency"))
    yield ""


def _line(name, row, target):
    over = row.get("limit_bytes", row["gzip_bytes"]) < row["gzip_bytes"]
    cells = [
        name + _LONG_NAMES * ("method" in row and not row.get("slim")) + " (over its limit)" * over,
        f"{row['width']:.0%}",
        f"{row['gzip_bytes']:,}",
        f"{row['file_bytes']:,}",
        f"{row['accuracy']:.2%}",
        f"{row['choice_accuracy']:.2%}",
        f"{row['test_accuracy']:.2%}",
        f"{row['macs'] / 1e6:.2f} M" if "macs" in row else "",
        "yes" if row["accuracy"] >= target else "no",
    ]
    return f"| {' | '.join(cells)} |"


def _conclusion(part, measure, words):
    row = next((r for r in part["rows"] if r["name"] == part["smallest"][measure]), None)
    if row is None:
        return f"No row keeps the target on the examples to choose by ({words})."
    share = row[measure] / part["reference"][measure]
    return (
        f"Smallest {words}, chosen on the examples to choose by: {row['name']}: "
        f"{row[measure]:,} B, {share:.0%} of the reference; {row['accuracy']:.2%} on all, "
        f"{row['test_accuracy']:.2%} on the others."
    )


def _latency(latency):
    if not latency:
        return
    yield ""
    yield f"p50 on this host ({latency['machine']['cpu']}), in turns, one thread; not on a device:"
    yield ""
    yield "| file | p50 ms | ratio | 95 % interval |"
    yield "|---|---|---|---|"
    for name, file in zip(latency["names"], latency["files"], strict=True):
        yield (
            f"| {name} | {file['p50_ms']:.3f} | {file['ratio']:.2f} | "
            f"{file['ratio_low']:.2f} to {file['ratio_high']:.2f} |"
        )


def publish(document, path):
    """Writes JSON and, beside it, Markdown, which it returns."""
    text = markdown(document)
    write_json(path, document)
    write_text(path.with_suffix(".md"), text)
    return text
