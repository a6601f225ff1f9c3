"""What a .tflite file says of itself: labels, normalisation, policy, where it comes from.

It lies in the file as the flatbuffer metadata entry "TFMC_METADATA", in UTF-8 JSON that `strings`
and every flatbuffer reader show; a JSON file beside the model may repeat it.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tf_metacompress.atomic import PathLike, write_bytes
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.io_signatures import Signature, read_signatures
from tf_metacompress.deploy.metadata_entry import read_entry, with_entry, without_entry
from tf_metacompress.deploy.records import SCHEMA_VERSION, Record
from tf_metacompress.errors import (
    CorruptFileError,
    MetacompressError,
    did_you_mean,
    invalid,
    wrong_type,
)

METADATA_ENTRY = "TFMC_METADATA"
_LINE_BREAKS = ("\n", "\r")
_PROBABILITIES = ("SOFTMAX", "LOGISTIC")
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "RESHAPE")


@dataclass(frozen=True, kw_only=True)
class Normalization(Record):
    """How raw values become what the model was trained on: (raw − mean) / std.

    Attributes:
        mean: One value, or one for each entry of the last axis.
        std: As many.

    Raises:
        InvalidArgumentError: If they differ in number, or a divisor is 0 or a value not finite.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std)
        if not mean or len(mean) != len(std):
            raise invalid("`mean` and `std` must be as many, at least one.", mean=mean, std=std)
        if 0.0 in std:
            raise invalid("`std` must not be 0: it divides.", std=std)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise wrong_type(f"`{name}` must be a sequence of numbers.", **{name: values}) from error
    if not all(math.isfinite(number) for number in numbers):
        raise invalid(f"`{name}` must be finite.", **{name: values})
    return numbers


@dataclass(frozen=True, kw_only=True)
class ModelMetadata(Record):
    """What a file says of itself.

    Attributes:
        name: Name of the model.
        labels: What each value of the first output stands for, in order; empty for none.
        normalization: By name of the input; inputs that are not named take values as they are.
        softmax: Whether softmax is still to be taken of the first output to get probabilities.
        policy: The policy it was compressed with, as `Policy.to_json` writes it.
        source: File name of the model it was made from.
        source_sha256: Hash of that file, hexadecimal.
        keras_sha256: Hash of the Keras model's configuration and weights, hexadecimal; export sets
            it.
        versions: Package name to version of what made it.

    Raises:
        InvalidArgumentError: If a label is empty or has a line break.
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    normalization: Mapping[str, Normalization] = field(default_factory=dict)
    softmax: bool = False
    policy: Mapping[str, Any] | None = None
    source: str = ""
    source_sha256: str = ""
    keras_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = _labels(self.labels)
        object.__setattr__(self, "labels", labels)
        if not all(isinstance(item, Normalization) for item in self.normalization.values()):
            raise wrong_type(
                "`normalization` must map names of inputs to Normalization.",
                normalization=self.normalization,
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gave; names it does not know are left out.

        Args:
            values: As read from JSON.

        Returns:
            The metadata.

        Raises:
            CorruptFileError: If the values are not metadata of this version.
        """
        if not isinstance(values, Mapping) or values.get("schema_version") != SCHEMA_VERSION:
            raise CorruptFileError(f"Model metadata must have schema_version {SCHEMA_VERSION}.")
        known = {name.name: values[name.name] for name in fields(cls) if name.name in values}
        try:
            normalization = {
                name: Normalization(mean=item["mean"], std=item["std"])
                for name, item in known.pop("normalization", {}).items()
            }
            return cls(**known, normalization=normalization)
        except (MetacompressError, AttributeError, KeyError, TypeError) as error:
            raise CorruptFileError(f"The model metadata do not make sense: {error}") from error


def _labels(labels: Any) -> tuple[str, ...]:
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise wrong_type("`labels` must be a sequence of strings.", labels=labels)
    for label in labels:
        if not isinstance(label, str):
            raise wrong_type("Each label must be a string.", label=label)
        if not label.strip() or any(mark in label for mark in _LINE_BREAKS):
            raise invalid("A label must be one line that is not empty.", label=label)
        if label != label.encode(errors="ignore").decode():
            raise invalid("A label must be valid Unicode.", label=label)
    return tuple(labels)


def check_metadata(metadata: ModelMetadata, file: FlatFile) -> None:
    """Checks that metadata fit a file.

    Args:
        metadata: What to say of it.
        file: The file.

    Raises:
        InvalidArgumentError: If the labels are not as many as the first output has values, an input
            is not there, a normalisation does not fit its last axis, or softmax was taken already.
    """
    signature = read_signatures(file)[0]
    first = next(iter(signature.outputs), None)
    num_values = math.prod(first.shape) if first else 0
    if metadata.labels and len(metadata.labels) != num_values:
        raise invalid(
            "There must be one label for each value of the first output.",
            "Pass as many labels, in the order of the classes.",
            labels=len(metadata.labels),
            values=num_values,
        )
    shapes = {tensor.name: tensor.shape for tensor in signature.inputs}
    for name, normalization in metadata.normalization.items():
        if name not in shapes:
            hint = did_you_mean(name, shapes) or f"The inputs are {sorted(shapes)}."
            raise invalid("`normalization` must name inputs of the file.", hint, name=name)
        if len(normalization.mean) not in (1, shapes[name][-1] if shapes[name] else 1):
            raise invalid(
                "`mean` must be one value, or one for each entry of the last axis.",
                mean=normalization.mean,
                shape=shapes[name],
            )
    made_by = _maker(file)
    if metadata.softmax and made_by in _PROBABILITIES:
        raise invalid(
            "`softmax` must be False for a file whose output is probabilities already.",
            made_by=made_by,
        )


def _maker(file: FlatFile) -> str:
    """The operator that makes the first output, conversions left out."""
    makers = {index: op for op in file.main.ops for index in op.outputs}
    wanted = next(iter(file.output_names.values()), -1)
    for _ in file.main.ops:
        op = makers.get(wanted)
        if op is None or op.name not in _CONVERSIONS:
            return op.name if op else ""
        wanted = op.inputs[0] if op.inputs else -1
    return ""


def metadata_json(data: bytes, metadata: ModelMetadata) -> str:
    """Writes metadata as the JSON that stands in a file and in its twin beside it.

    Inputs and outputs, and the hash of the file without the entry, are added for readers that
    have nothing but the text.

    Args:
        data: The .tflite file, with or without the entry.
        metadata: What to say of it.

    Returns:
        Indented JSON that ends in a line break.
    """
    bare = without_entry(data, METADATA_ENTRY)
    document = metadata.to_dict() | {
        "model_sha256": hashlib.sha256(bare).hexdigest(),
        "signatures": [_plain(signature) for signature in read_signatures(read_flatfile(bare))],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(signature: Signature) -> dict[str, Any]:
    values = signature.to_dict()
    del values["schema_version"]
    return values


def with_metadata(data: bytes, metadata: ModelMetadata) -> bytes:
    """Puts metadata into a .tflite file, in place of earlier ones.

    Args:
        data: The file.
        metadata: What to say of it.

    Returns:
        The new file: the same bytes for the same arguments. It computes what the old one does.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file.
        InvalidArgumentError: If the metadata do not fit its inputs and outputs.
    """
    check_metadata(metadata, read_flatfile(data))
    return with_entry(data, METADATA_ENTRY, metadata_json(data, metadata).encode())


def metadata_of(data: bytes) -> ModelMetadata | None:
    """Reads the metadata of a file's bytes; None if it has none of ours.

    Args:
        data: The file.

    Returns:
        The metadata.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file or its metadata are damaged.
    """
    content = read_entry(data, METADATA_ENTRY)
    if content is None:
        return None
    try:
        return ModelMetadata.from_dict(json.loads(content.decode()))
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, CorruptFileError) else "not JSON"
        raise CorruptFileError(f"The file's {METADATA_ENTRY} is damaged: {reason}") from error


def read_metadata(path: PathLike) -> ModelMetadata | None:
    """Reads the metadata of a .tflite file.

    Args:
        path: The file.

    Returns:
        The metadata, None if it has none of ours.

    Raises:
        CorruptFileError: If it is not a .tflite file or its metadata are damaged.
        InvalidArgumentError: If there is no such file.
    """
    data = read_flatfile(read_model_file(path), str(path)).data
    return metadata_of(data)


def write_metadata(path: PathLike, metadata: ModelMetadata) -> None:
    """Puts metadata into a .tflite file on the disk, whole or not at all.

    Args:
        path: The file.
        metadata: What to say of it.

    Raises:
        CorruptFileError: If it is not a .tflite file.
        InvalidArgumentError: If there is no such file, it cannot be written, or the metadata do not
            fit its inputs and outputs.
    """
    data = read_flatfile(read_model_file(path), str(path)).data
    write_bytes(path, with_metadata(data, metadata))
