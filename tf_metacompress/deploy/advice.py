"""What to know before deploying a file, in plain words. Each piece of advice is one function."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tf_metacompress.deploy.constants import constants
from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.inspection import LayerStorage, float_ops
from tf_metacompress.deploy.report import ExportReport


class Described(Protocol):
    """What advice on a file goes by that needs no Keras model."""

    @property
    def mode(self) -> str:
        """Its export mode."""

    @property
    def nonzero_share(self) -> float:
        """Share of weights and biases that are not zero."""

    @property
    def delegation(self) -> Delegation | None:
        """How the runtime splits it."""


Advice = Callable[[ExportReport, FlatFile], Iterator[str]]
FileAdvice = Callable[[Described, FlatFile], Iterator[str]]

_CHANNEL_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_GROUP = 16
_MANY_ZEROS = 0.3
_WIDE_MISS = 0.5


def _zeros(report: Described, file: FlatFile) -> Iterator[str]:
    zeros = 1.0 - report.nonzero_share
    if zeros < _MANY_ZEROS or any(tensor.sparse for tensor in constants(file)):
        return
    if report.mode in ("int8", "uint8", "int16x8", "mixed"):
        reason = "sparsity does not speed up integers on this runtime"
    else:
        reason = "the zeros are stored like any weight, so they do not speed it up"
    yield f"{zeros:.0%} of the weights are zero: the download (gzip) is smaller, but {reason}."


def _sparse_path(report: ExportReport, file: FlatFile) -> Iterator[str]:
    encoded = [entry for entry in report.layers if entry.sparse]
    if not encoded:
        return
    fast = [entry.layer for entry in encoded if _is_pointwise(entry)]
    dense = report.dense_gzip_bytes or 0
    yield (
        f"In the sparse encoding: {', '.join(entry.layer for entry in encoded)}. XNNPACK can leave "
        f"out the zeros of {', '.join(fast) or 'none of them'}: it does so in 1×1 convolutions "
        "only, on ARM only, and between convolutions of stride 2 that are padded by one on every "
        "side and a global average. x86 with AVX, as most computers, is no faster with it."
    )
    yield (
        f"The file has {report.file_bytes:,} B, its download (gzip) {report.gzip_bytes:,} B; the "
        f"download of the same file with its zeros written out has {dense:,} B. An int8 file is "
        "smaller still."
    )


def _is_pointwise(entry: LayerStorage) -> bool:
    return entry.op == "CONV_2D" and entry.shape[1:3] == (1, 1)


def _few_bits(report: ExportReport, file: FlatFile) -> Iterator[str]:
    total = len(report.layers)
    packed = sum(entry.stored == "int4" for entry in report.layers)
    if packed:
        yield f"Stored as packed 4-bit integers: {packed} of {total} kernels."
    if any(entry.stored == "int4" and entry.op == "CONV_2D" for entry in report.layers):
        yield (
            "Convolutions with packed weights make the smallest file, but XNNPACK leaves them to "
            "slower kernels: on x86 ResNet-8 took 1.9 times, DS-CNN 1.5 times as long."
        )
    in_bytes = [entry.grid_bits for entry in report.layers if entry.in_bytes]
    if in_bytes:
        bits = " and ".join(str(number) for number in sorted(set(in_bytes)))
        yield (
            f"On a grid of {bits} bits, stored without loss in bytes and as fast as 8 bits: "
            f"{len(in_bytes)} of {total} kernels. The download (gzip) is smaller than in 8 bits, "
            "the file is not: XNNPACK packs two weights in a byte in dense layers only, at 4 bits. "
            "packed='all' packs those of Conv2D too, where size matters more than speed."
        )


def _off_plan(report: ExportReport, file: FlatFile) -> Iterator[str]:
    packed = [entry for entry in report.layers if entry.stored == "int4" and not entry.exact]
    if packed:
        yield (
            "Rounded to the 4 bits of the policy while exporting, without training: "
            f"{_with_errors(packed)}. Train with `compress` first."
        )


def _many_levels(report: ExportReport, file: FlatFile) -> Iterator[str]:
    wide = [entry for entry in report.layers if _is_rounded(entry) and entry.grid_bits]
    if wide:
        yield (
            "On a grid with more than 127 levels on one side of zero, as an asymmetric one may "
            "be; LiteRT's weights are symmetric, so they were rounded to int8: "
            f"{_with_errors(wide)}."
        )


def _codebooks(report: ExportReport, file: FlatFile) -> Iterator[str]:
    few = [entry for entry in report.layers if _is_rounded(entry) and entry.codebook]
    if few:
        most = max(entry.codebook for entry in few)
        yield (
            f"Of at most {most} values a channel, which are no multiples of a step: each value "
            "was rounded to int8, so that no more values remain, but LiteRT stores no table of "
            f"values: {_with_errors(few)}."
        )


def _other_ranges(report: ExportReport, file: FlatFile) -> Iterator[str]:
    if report.ranges.other:
        names = ", ".join(report.ranges.other)
        yield (
            "The results of these layers have other ranges than those of training, as the file "
            "has no such tensor, shares its range with a neighbour, or the runtime fixes it: "
            f"{names}."
        )


def _is_rounded(entry: LayerStorage) -> bool:
    return entry.stored in ("int8", "int4") and not entry.exact


def _with_errors(entries: Sequence[LayerStorage]) -> str:
    return ", ".join(
        f"{entry.layer} (off by {100 * entry.rounding_error:.2g}%)" for entry in entries
    )


def _slow_dynamic(report: Described, file: FlatFile) -> Iterator[str]:
    if report.mode == "dynamic" and any(op.name == "DEPTHWISE_CONV_2D" for op in file.main.ops):
        yield "Dynamic range is slower than float32 on depthwise convolutions; int8 is faster."


def _slow_int16(report: Described, file: FlatFile) -> Iterator[str]:
    made = {index for op in file.main.ops for index in op.outputs}
    if any(file.main.tensors[index].type == "int16" for index in made):
        yield (
            "XNNPACK has no kernels for 16-bit activations: on a computer these operators are many "
            "times slower than in int8, and slower than in float32."
        )


def _left_float(report: Described, file: FlatFile) -> Iterator[str]:
    names = float_ops(file) if report.mode in ("int8", "int16x8") else ()
    if names:
        listed = ", ".join(names)
        yield f"These operators stay in float32, as they have no integer kernel: {listed}."


def _outside_delegate(report: Described, file: FlatFile) -> Iterator[str]:
    if report.delegation is not None and report.delegation.ops_outside:
        names = ", ".join(dict.fromkeys(report.delegation.ops_outside))
        yield f"The delegate of this machine leaves these to slower kernels: {names}."


def _narrow(described: Described, file: FlatFile) -> Iterator[str]:
    graph = file.main
    ops = [op for op in graph.ops if op.name in _CHANNEL_OPS and op.outputs and op.outputs[0] >= 0]
    # The last one has as many outputs as there are classes, which is no choice.
    shapes = [graph.tensors[op.outputs[0]].shape for op in ops[:-1]]
    odd = Counter(shape[-1] for shape in shapes if shape and shape[-1] % _GROUP)
    if odd:
        listed = ", ".join(f"{width} ({count}×)" for width, count in sorted(odd.items()))
        widest = max(odd)
        full = -(-widest // _GROUP) * _GROUP
        yield (
            f"Channel counts that are no multiple of {_GROUP}: {listed}. Kernels compute 8 or 16 "
            f"channels at a time, by processor and type: {widest} may take as long as {full}."
        )


def _weak_proof(report: ExportReport, file: FlatFile) -> Iterator[str]:
    parity = report.parity
    if parity.source == "random":
        yield (
            f"Compared with Keras on {parity.num_samples} random inputs only: pass "
            "`representative_dataset` for a proof on real data."
        )
    for output in parity.outputs:
        if output.relative_error <= parity.tolerance and output.spread_error > _WIDE_MISS:
            yield (
                f"The error of output {output.name!r} is {output.spread_error:.2g} times as large "
                "as its variation over the samples: check the accuracy of the file."
            )


def _unknown_layers(report: ExportReport, file: FlatFile) -> Iterator[str]:
    if report.layers_not_found:
        names = ", ".join(report.layers_not_found)
        yield f"The kernels of these layers were not recognised in the file: {names}."


FILE_ADVICE: tuple[FileAdvice, ...] = (
    _zeros,
    _slow_dynamic,
    _slow_int16,
    _left_float,
    _outside_delegate,
    _narrow,
)
"""Advice that fits any .tflite file."""

_ADVICE: tuple[Advice, ...] = (
    _zeros,
    _sparse_path,
    _few_bits,
    _off_plan,
    _many_levels,
    _codebooks,
    _other_ranges,
    _slow_dynamic,
    _slow_int16,
    _left_float,
    _outside_delegate,
    _narrow,
    _weak_proof,
    _unknown_layers,
)


def advise(report: ExportReport, file: FlatFile) -> tuple[str, ...]:
    """Collects the warnings that apply to an exported file.

    Args:
        report: What is known of it so far.
        file: What it holds.

    Returns:
        Sentences, most important first.
    """
    return tuple(text for advice in _ADVICE for text in advice(report, file))
