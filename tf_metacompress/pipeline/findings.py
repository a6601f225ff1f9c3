"""What a run did not gain, in plain words. Each finding is one function."""

from collections.abc import Callable, Iterator, Sequence

from tf_metacompress.pipeline.outcome import Outcome
from tf_metacompress.policy import LayerInfo

_KIB = 1024
_SAME_SIZE = 1.02
_FOLDED = "BatchNormalization"


Finding = Callable[[Outcome], Iterator[str]]


def _size(outcome: Outcome) -> Iterator[str]:
    reached = outcome.chosen_row.gzip_bytes / outcome.float_row.gzip_bytes
    if outcome.size_ratio is not None and reached > outcome.size_ratio:
        yield f"The budget: {reached:.4f} of float32's gzip size, not {outcome.size_ratio:g}."


def _accuracy(outcome: Outcome) -> Iterator[str]:
    lost = outcome.float_row.accuracy - outcome.chosen_row.accuracy
    count = round(lost * outcome.num_test)
    if count > 0:
        yield (
            f"All of the accuracy: {100 * lost:.2f} points less than float32, "
            f"{count} of {outcome.num_test} test examples."
        )


def _simpler_policies(outcome: Outcome) -> Iterator[str]:
    limit = outcome.chosen_row.gzip_bytes * _SAME_SIZE
    equals = [
        row.name
        for row in outcome.other_rows
        if row.gzip_bytes <= limit and row.accuracy >= outcome.chosen_row.accuracy
    ]
    if equals:
        yield (
            f"Accuracy over {', '.join(equals)}: as accurate as {outcome.chosen}, or more, "
            "at the same size."
        )


def _time(outcome: Outcome) -> Iterator[str]:
    own = outcome.timing(outcome.chosen_row)
    if own["ratio_high"] >= 1.0:
        yield (
            f"Time against float32: p50 is {own['ratio']:.2f} of float32's "
            f"[{own['ratio_low']:.2f}, {own['ratio_high']:.2f}]."
        )
    fastest = min(outcome.other_rows, key=lambda row: outcome.timing(row)["ratio"], default=None)
    if fastest is not None and outcome.timing(fastest)["ratio_high"] < own["ratio_low"]:
        yield (
            f"Time against {fastest.name}: p50 is {own['ratio']:.2f} of float32's, "
            f"there {outcome.timing(fastest)['ratio']:.2f}."
        )


def _flash(outcome: Outcome) -> Iterator[str]:
    row = outcome.chosen_row
    file = row.file_bytes / outcome.float_row.file_bytes
    gzip = row.gzip_bytes / outcome.float_row.gzip_bytes
    if file > _SAME_SIZE * gzip:
        yield (
            f"Flash as much as download: the file is {row.file_bytes / _KIB:.1f} KiB, "
            f"{file:.3f} of float32's, against {gzip:.3f} after gzip."
        )


def _warnings(outcome: Outcome) -> Iterator[str]:
    yield from outcome.chosen_row.warnings


def _device(outcome: Outcome) -> Iterator[str]:
    cpu = outcome.latency["machine"]["cpu"]
    yield (
        f"A time on {outcome.device}: all times are of this machine ({cpu}); "
        "measure on the device itself."
    )


_FINDINGS: tuple[Finding, ...] = (
    _size,
    _accuracy,
    _simpler_policies,
    _time,
    _flash,
    _warnings,
    _device,
)


def not_gained(outcome: Outcome) -> tuple[str, ...]:
    """Says what a run did not gain.

    Args:
        outcome: What was measured.

    Returns:
        Sentences, most important first.
    """
    return tuple(text for finding in _FINDINGS for text in finding(outcome))


def left_alone(infos: Sequence[LayerInfo]) -> tuple[str, ...]:
    """Names the layers that no policy can act on, since their kind is not known.

    BatchNormalization is not among them: it is folded into the layer before it.

    Args:
        infos: All layers of a model, from `describe`.

    Returns:
        One sentence, or none when every layer is of a known kind.
    """
    unknown = [i for i in infos if not i.compressible and i.kind != _FOLDED and i.num_params]
    if not unknown:
        return ()
    names = ", ".join(f"{info.name} ({info.kind})" for info in unknown)
    count, total = (sum(info.num_params for info in group) for group in (unknown, infos))
    return (
        f"{names}: the kind of layer is not known, so training leaves it as it is; "
        f"{count:,} of {total:,} weights.",
    )
