"""Lays out what is in a .tflite file as tables for a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.file_counts import OpCount, TypeCount, WeightZeros
from tf_metacompress.deploy.io_signatures import IoTensor, Signature
from tf_metacompress.deploy.model_metadata import ModelMetadata
from tf_metacompress.deploy.sizes import FileSizes
from tf_metacompress.text_table import lay_out

_KIB = 1024
_MOST_SHAPES, _MOST_WEIGHTS, _MOST_LABELS = 3, 24, 6
_WIDEST_NAME = 48


def printable(text: str, width: int = _WIDEST_NAME) -> str:
    r"""Makes a name from a file safe to print: no control characters, and not too long.

    Args:
        text: The name.
        width: Most characters; the end, which tells more, is kept.

    Returns:
        The name in one line.

    Example:
        >>> printable("a\x1b[2Jb")
        'a�[2Jb'
    """
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return plain if len(plain) <= width else "…" + plain[1 - width :]


def kib(count: int) -> str:
    """Gives bytes in KiB."""
    return f"{count / _KIB:,.1f} KiB"


def shape_text(shape: Sequence[int]) -> str:
    """Gives extents as "1×8×8×3", "scalar" for none."""
    return "×".join(map(str, shape)) or "scalar"


def size_line(sizes: FileSizes) -> str:
    """Gives the sizes in a line."""
    return (
        f"file {kib(sizes.file_bytes)}, gzip {kib(sizes.gzip_bytes)}, "
        f"constants {kib(sizes.constant_bytes)}, non-zero weights {kib(sizes.nonzero_bytes)}"
    )


def op_lines(ops: Sequence[OpCount]) -> Iterator[str]:
    """Lays out operators, most frequent first."""
    rows = [
        (printable(entry.op), _shapes(entry.output_shapes), str(entry.version), str(entry.count))
        for entry in sorted(ops, key=lambda entry: -entry.count)
    ]
    if rows:
        yield from lay_out(("operator", "output shapes", "version", "count"), rows, num_left=2)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    shown = [shape_text(shape) for shape in shapes[:_MOST_SHAPES]]
    more = len(shapes) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def type_lines(types: Sequence[TypeCount]) -> Iterator[str]:
    """Lays out the types of tensors."""
    rows = [
        (
            entry.type,
            str(entry.constants),
            kib(entry.constant_bytes),
            str(entry.activations),
            kib(entry.activation_bytes),
        )
        for entry in types
    ]
    if rows:
        yield from lay_out(("type", "constants", "size", "activations", "size"), rows)


def weight_lines(weights: Sequence[WeightZeros], sparsity: float) -> Iterator[str]:
    """Lays out the largest weights, the rest summed up, and the share of zeros in all."""
    largest = sorted(weights, key=lambda entry: -entry.constant_bytes)
    rows = [
        (
            printable(entry.tensor),
            printable(entry.op),
            entry.type + (", sparse" if entry.sparse else ""),
            shape_text(entry.shape),
            kib(entry.constant_bytes),
            "?" if entry.sparsity is None else f"{entry.sparsity:.1%}",
        )
        for entry in largest[:_MOST_WEIGHTS]
    ]
    if not rows:
        return
    yield from lay_out(("weights", "of", "type", "shape", "size", "zeros"), rows, num_left=3)
    rest = largest[_MOST_WEIGHTS:]
    if rest:
        size = kib(sum(entry.constant_bytes for entry in rest))
        yield f"and {len(rest)} smaller ones of {size} together"
    yield f"zeros in total: {sparsity:.1%}"


def signature_lines(signatures: Sequence[Signature]) -> Iterator[str]:
    """Lays out inputs and outputs."""
    rows = []
    for signature in signatures:
        key = "by position" if signature.key is None else printable(signature.key)
        for word, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            rows += [(key, word, *_tensor(tensor)) for tensor in tensors]
    if rows:
        header = ("signature", "", "name", "type", "shape", "real number")
        yield from lay_out(header, rows, num_left=len(header))


def _tensor(tensor: IoTensor) -> tuple[str, ...]:
    real = "as stored"
    if tensor.scale:
        sign = "+" if tensor.zero_point < 0 else "−"
        shift = f"(q {sign} {abs(tensor.zero_point)})" if tensor.zero_point else "q"
        real = f"{shift} · {tensor.scale:.6g}"
    return printable(tensor.name), tensor.type, shape_text(tensor.shape), real


def delegation_lines(delegation: Delegation) -> Iterator[str]:
    """Tells what a delegate takes and what it leaves."""
    yield f"{delegation.partitions} part(s) for the delegate (XNNPACK)"
    yield f"  it takes {_named(delegation.ops_inside)}"
    yield f"  it leaves {_named(delegation.ops_outside)}"


def _named(names: Sequence[str]) -> str:
    counts = Counter(map(printable, names))
    return ", ".join(f"{name} ({count}×)" for name, count in counts.items()) or "nothing"


def metadata_lines(names: Sequence[str], said: ModelMetadata | None) -> Iterator[str]:
    """Tells which metadata entries there are, and what ours say."""
    if names:
        yield "metadata: " + ", ".join(map(printable, names))
    if said is None:
        return
    if said.name:
        yield f"  name: {printable(said.name)}"
    if said.labels:
        shown = [printable(label) for label in said.labels[:_MOST_LABELS]]
        more = ", …" if len(said.labels) > _MOST_LABELS else ""
        yield f"  {len(said.labels)} labels: {', '.join(shown)}{more}"
    for name, scaling in said.normalization.items():
        yield f"  input {printable(name)}: (raw − {scaling.mean}) / {scaling.std}"
    if said.source:
        yield f"  made from {printable(said.source)}"
