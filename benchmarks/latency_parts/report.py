"""Timed rows as Markdown."""

_HEADER = (
    "| file | ms | times faster than int8 | 95 % interval | file B | MACs | accuracy | note |",
    "|---|---|---|---|---|---|---|---|",
)


def markdown(document):
    """The tables.

    Args:
        document: What the benchmark wrote.

    Returns:
        Markdown.
    """
    machine = document["machine"]
    lines = [
        "# Latency of four nets on one host",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, LiteRT {machine['litert']}, one thread, "
        "batch size one. A host is no phone: these are not on-device figures.",
        "Files of a net run in turns; ratios are medians over the turns.",
    ]
    if document["quick"]:
        lines += ["", "**A quick run: too few turns to publish.**"]
    for name, net in document["networks"].items():
        lines += ["", f"## {name}", "", *_told(net), *_HEADER, *map(_line, net["rows"])]
    return "\n".join(lines) + "\n"


def _told(net):
    count = net.get("num_scored", 0)
    told = "Random weights: no accuracy is scored."
    if count:
        told = f"Accuracy on {count:,} examples, each by a file that was not trained on it."
    return [told, ""]


def _line(row):
    low, high = row["ratio_interval"]
    accuracy = "" if row.get("accuracy") is None else f"{row['accuracy']:.2%}"
    cells = (
        row["name"],
        f"{row['p50_ms']:.3f}",
        f"{1 / row['ratio']:.2f}",
        f"{1 / high:.2f} to {1 / low:.2f}",
        f"{row['file_bytes']:,}",
        f"{row['macs'] / 1e6:.2f} M",
        accuracy,
        row["note"],
    )
    return f"| {' | '.join(cells)} |"
