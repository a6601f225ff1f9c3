"""Predicted against measured latencies as Markdown."""

_HEADER = (
    "| net | channels | file | measured ms | predicted ms | error |",
    "|---|---|---|---|---|---|",
)


def markdown(document):
    """The tables.

    Args:
        document: What the benchmark wrote.

    Returns:
        Markdown.
    """
    lines = [
        "# Latency predicted from ten layers",
        "",
        "Predicted is the sum of the layers, without what an inference costs beside them; measured "
        "are whole files, held out, with random weights. A host is no phone: these are not "
        "on-device figures.",
    ]
    if document["quick"]:
        lines += ["", "**A quick run: too few models to publish.**"]
    for found in document.values():
        if isinstance(found, dict):
            lines += ["", *_section(found)]
    return "\n".join(lines) + "\n"


def _section(found):
    fitted = found["fitted"]
    yield f"## {found['device']}"
    yield ""
    yield (
        f"{found['runtime']}, one thread, {found['num_references']} reference layers, "
        f"{len(found['models'])} models. Rank correlation {fitted['rank_correlation']:.3f} "
        f"(float32 {fitted['rank_correlation_float32']:.3f}, int8 "
        f"{fitted['rank_correlation_int8']:.3f}; of multiply-accumulates "
        f"{found['rank_correlation_of_macs']:.3f}), median error "
        f"{fitted['median_relative_error']:.0%}, largest {fitted['largest_relative_error']:.0%}."
    )
    yield ""
    yield from _HEADER
    for model, predicted in zip(found["models"], fitted["predicted_ms"], strict=True):
        measured = model["measured_ms"]
        yield (
            f"| {model['net']} | {model['width']:.0%} | {model['form']} | {measured:.4f} | "
            f"{predicted:.4f} | {predicted / measured - 1:+.0%} |"
        )
