"""What to know of a .tflite file that anybody made, in plain words. Each remark is one function."""

from collections.abc import Iterator

from tf_metacompress.deploy.advice import FILE_ADVICE, Described, FileAdvice
from tf_metacompress.deploy.constants import constants
from tf_metacompress.deploy.flatfile import FlatFile

_LITTLE = 0.5


def _encoded(described: Described, file: FlatFile) -> Iterator[str]:
    encoded = sum(tensor.sparse for tensor in constants(file))
    if encoded:
        yield (
            f"Constants in the sparse encoding: {encoded}. XNNPACK is faster on it only on ARM, in "
            "float, for 1×1 convolutions with more than two thirds of zeros; never on x86 with AVX."
        )


def _half(described: Described, file: FlatFile) -> Iterator[str]:
    if described.mode in ("float16", "weight_only"):
        yield (
            "Its weights are made float32 before use: the file is smaller, and as fast and as "
            "large in memory as in float32."
        )


def _structure(described: Described, file: FlatFile) -> Iterator[str]:
    share = sum(len(tensor.data) for tensor in constants(file)) / len(file.data)
    if share < _LITTLE:
        yield (
            f"Only {share:.0%} of the file are constants; the rest is structure and names, which "
            "fewer bits and zeros do not make smaller."
        )


def _open_shapes(described: Described, file: FlatFile) -> Iterator[str]:
    tensors = [file.main.tensors[index] for index in file.main.inputs]
    for tensor in (tensor for tensor in tensors if tensor.open_axes):
        axes, shape = (", ".join(map(str, part)) for part in (tensor.open_axes, tensor.shape))
        yield (
            f"Input {tensor.name!r} takes any extent on axis {axes}: shapes, bytes and delegate "
            f"partitions here are those of ({shape})."
        )


FILE_REMARKS: tuple[FileAdvice, ...] = (
    *FILE_ADVICE,
    _encoded,
    _half,
    _structure,
    _open_shapes,
)
"""Every remark, most important first."""


def remark(described: Described, file: FlatFile) -> tuple[str, ...]:
    """Collects the remarks that apply to a file.

    Args:
        described: What is known of it so far.
        file: What it holds.

    Returns:
        Sentences, most important first.
    """
    return tuple(text for advice in FILE_REMARKS for text in advice(described, file))
