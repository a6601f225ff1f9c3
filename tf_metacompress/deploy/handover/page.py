"""The README of a hand-over: sizes, operators, what runs where, latencies, commands."""

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping, Sequence

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.handover.kotlin import kotlin_string
from tf_metacompress.deploy.handover.latencies import Latency, latency_table
from tf_metacompress.deploy.handover.sources import LITERT_ANDROID, MIN_SDK, filled
from tf_metacompress.deploy.handover.subject import Subject
from tf_metacompress.deploy.io_signatures import IoTensor, Signature
from tf_metacompress.deploy.micro import measured_arena
from tf_metacompress.deploy.sizes import measure_sizes
from tf_metacompress.errors import UnsupportedModelError

_ARENA = (
    "LiteRT does not tell the size of its arena on a phone; `benchmark` reports the memory of the "
    "whole process there."
)


def readme(
    subject: Subject,
    delegation: Delegation | None,
    latencies: Sequence[Latency],
    seeded: bool,
) -> str:
    """Writes the page.

    Args:
        subject: What is handed over.
        delegation: How the runtime of this machine splits the file, None if it does not tell.
        latencies: What was measured.
        seeded: Whether the test vector was drawn at random.

    Returns:
        Markdown.
    """
    sizes = measure_sizes(subject.file)
    return filled(
        "handover_readme.md",
        {
            "title": _plain(subject.metadata.name),
            "file_bytes": f"{sizes.file_bytes:,}",
            "gzip_bytes": f"{sizes.gzip_bytes:,}",
            "constant_bytes": f"{sizes.constant_bytes:,}",
            "nonzero": f"{sizes.nonzero_share:.1%}",
            "sha256": subject.sha256,
            "tensors": "\n".join(_tensor_rows(subject)),
            "processing": _processing(subject),
            "ops": _ops(count_ops(subject)),
            "delegation": _delegation(delegation),
            "arena": f"{_ARENA} {_micro_arena(subject)}".strip(),
            "latency": latency_table(latencies),
            "usage": _usage(subject),
            "litert": LITERT_ANDROID,
            "min_sdk": MIN_SDK,
            "package": subject.package,
            "vector": "drawn at random, always alike" if seeded else "the sample that was given",
            "reservation": "" if seeded else ", with a test vector drawn at random",
        },
    )


def count_ops(subject: Subject) -> dict[str, int]:
    """Counts the operators of a file by name, the most frequent first."""
    counts = Counter(op.name for graph in subject.file.subgraphs for op in graph.ops)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _ops(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count} × {_plain(name)}" for name, count in counts.items())
    return f"Operators ({sum(counts.values())}): {listed}."


def _delegation(delegation: Delegation | None) -> str:
    version = importlib.metadata.version("ai-edge-litert")
    here = f"On the machine that wrote this ({platform.machine()}, LiteRT {version})"
    if delegation is None:
        return f"{here} the runtime does not tell what runs where."
    outside = Counter(delegation.ops_outside)
    rest = ", ".join(f"{count} × {_plain(name)}" for name, count in sorted(outside.items()))
    left = f"; built-in kernels run {rest}" if rest else " and nothing is left outside"
    return (
        f"{here} the CPU delegate XNNPACK runs {delegation.partitions} part(s) of the graph{left}. "
        "`InterpreterApi` uses the same delegate on a phone; what it takes there is in the answer "
        "of `benchmark --device android --json`."
    )


def _micro_arena(subject: Subject) -> str:
    """What a microcontroller would need, where it can run the file and that was measured here."""
    try:
        size = measured_arena(subject.file, subject.metadata.name)
    except UnsupportedModelError:
        return "TensorFlow Lite Micro, the runtime for microcontrollers, does not run this file."
    if size is None:
        return ""
    return f"On a microcontroller TensorFlow Lite Micro would need an arena of {size:,} B for it."


def _tensor_rows(subject: Subject) -> list[str]:
    rows = []
    for signature in subject.signatures:
        key = "(none)" if signature.key is None else f"`{_plain(signature.key)}`"
        for word, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            rows += [f"| {key} | {word} | {_cells(tensor)} |" for tensor in tensors]
    return rows


def _cells(tensor: IoTensor) -> str:
    shape = " × ".join(map(str, tensor.shape)) or "one value"
    real = f"(stored − {tensor.zero_point}) · {tensor.scale!r}" if tensor.scale else "as stored"
    return f"`{_plain(tensor.name)}` | {shape} | {tensor.type} | {real}"


def _processing(subject: Subject) -> str:
    sentences = [
        f"`{_plain(name)}` takes raw values; the Kotlin code computes (raw − mean) / std with mean "
        f"{_numbers(scaling.mean)} and std {_numbers(scaling.std)}."
        for name, scaling in subject.metadata.normalization.items()
    ]
    if not sentences:
        sentences = ["Inputs are taken as they are: no normalisation is stated."]
    labels = len(subject.metadata.labels)
    if labels:
        taken = "softmax of the first output" if subject.metadata.softmax else "the first output"
        sentences.append(f"`classify` ranks {taken} by the {labels} lines of `assets/labels.txt`.")
    return " ".join(sentences)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _usage(subject: Subject) -> str:
    main: Signature = subject.signatures[0]
    fed = ", ".join(
        f"{kotlin_string(item.name)} to values{number or ''}"
        for number, item in enumerate(main.inputs)
    )
    call = "classify" if subject.metadata.labels else "run"
    return (
        f"import {subject.package}.{subject.class_name}\n\n"
        f"{subject.class_name}(context, numThreads = 4).use {{ model ->\n"
        f"    val result = model.{call}(mapOf({fed}))  // FloatArray, last axis fastest\n}}"
    )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: one line, nothing that ends a cell or a code span."""
    return " ".join(text.split()).replace("|", "¦").replace("`", "'")
