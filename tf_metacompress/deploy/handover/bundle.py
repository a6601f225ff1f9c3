"""`bundle_android`: a .tflite file with everything an Android app needs to run and check it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from tf_metacompress.atomic import PathLike, atomic_folder, check_new_folder
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.handover.latencies import read_latency
from tf_metacompress.deploy.handover.naming import check_package, class_name
from tf_metacompress.deploy.handover.page import count_ops, readme
from tf_metacompress.deploy.handover.sources import source_files
from tf_metacompress.deploy.handover.subject import Subject
from tf_metacompress.deploy.handover.vector import check_sample, make_vector, vector_files
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.io_signatures import Signature, read_signatures
from tf_metacompress.deploy.metadata_entry import without_entry
from tf_metacompress.deploy.model_metadata import (
    METADATA_ENTRY,
    ModelMetadata,
    metadata_json,
    metadata_of,
    with_metadata,
)
from tf_metacompress.deploy.records import Record
from tf_metacompress.deploy.sizes import FileSizes, measure_sizes
from tf_metacompress.errors import UnsupportedModelError, wrong_type

_TYPES = ("float32", "int8", "uint8", "int16", "int32", "int64")
_MOST_VALUES = 2**26


@dataclass(frozen=True, kw_only=True)
class BundleReport(Record):
    """What `bundle_android` wrote.

    Attributes:
        folder: The folder.
        files: Its files, relative to it.
        package: Kotlin package.
        class_name: Kotlin class that runs the model.
        sha256: Hash of the model with its metadata, hexadecimal.
        sizes: Sizes of the model with its metadata.
        ops: Name of an operator to how often the model has it.
    """

    folder: str
    files: tuple[str, ...]
    package: str
    class_name: str
    sha256: str
    sizes: FileSizes
    ops: Mapping[str, int]

    def __str__(self) -> str:
        """Prints the folder, the class and the files."""
        lines = [
            f"{self.folder}: {self.package}.{self.class_name}, "
            f"model {self.sizes.file_bytes:,} B, {sum(self.ops.values())} operators"
        ]
        return "\n".join([*lines, *(f"  {file}" for file in self.files)])


def bundle_android(
    path: PathLike,
    out: PathLike,
    *,
    metadata: ModelMetadata | None = None,
    package: str = "com.example.model",
    sample: Mapping[str, np.ndarray] | None = None,
    benchmarks: Sequence[PathLike] = (),
) -> BundleReport:
    """Writes a folder that an Android project takes in as a module.

    It holds the model with its metadata inside, labels and metadata beside it, a Kotlin class that
    normalises, quantises, runs and classifies as this package does, a test vector with an
    instrumented test that checks it on a device, Gradle lines and a page that tells of it all. The
    same arguments give the same bytes.

    Args:
        path: Any .tflite file.
        out: Folder to make; it must not exist, or be empty. It appears whole or not at all.
        metadata: Labels, normalisation and origin; None takes what the file says of itself.
        package: Kotlin package of the generated code.
        sample: Raw values for the test vector by name of the input; None draws some.
        benchmarks: Files that `benchmark --json` printed, for the page.

    Returns:
        What was written.

    Raises:
        CorruptFileError: If `path` is no .tflite file or a benchmark is damaged.
        UnsupportedModelError: If inputs or outputs have a type that Kotlin cannot be given or are
            too large for a test vector.
        InvalidArgumentError: If an argument is not allowed, or the metadata do not fit the file.
    """
    check_package(package)
    folder = check_new_folder(out)
    if metadata is not None and not isinstance(metadata, ModelMetadata):
        raise wrong_type("`metadata` must be a ModelMetadata.", metadata=metadata)
    data = read_flatfile(read_model_file(path), str(path)).data
    subject = _subject(data, metadata, package, Path(path).stem)
    hashes = {_sha256(data), subject.sha256, _sha256(without_entry(data, METADATA_ENTRY))}
    latencies = [read_latency(file, hashes) for file in benchmarks]
    main = subject.signatures[0]
    raw = None if sample is None else check_sample(sample, main)
    vector, delegation = make_vector(subject.file, main, subject.metadata, raw)
    texts = source_files(subject, vector)
    texts["README.md"] = readme(subject, delegation, latencies, vector.seeded)
    contents = _assets(subject) | {name: text.encode() for name, text in texts.items()}
    for name, content in vector_files(vector, main).items():
        contents[f"vector/{name}"] = content
    _write(folder, contents)
    return BundleReport(
        folder=str(folder),
        files=tuple(sorted(contents)),
        package=package,
        class_name=subject.class_name,
        sha256=subject.sha256,
        sizes=measure_sizes(subject.file),
        ops=count_ops(subject),
    )


def _subject(data: bytes, metadata: ModelMetadata | None, package: str, stem: str) -> Subject:
    file = read_flatfile(data)
    said = metadata or metadata_of(data) or ModelMetadata()
    said = said if said.name else replace(said, name=stem)
    signatures = read_signatures(file)
    _check_signatures(signatures, len(file.main.inputs), len(file.main.outputs))
    return Subject(
        file=read_flatfile(with_metadata(data, said)),
        metadata=said,
        signatures=signatures,
        package=package,
        class_name=class_name(said.name),
    )


def _check_signatures(signatures: Sequence[Signature], num_inputs: int, num_outputs: int) -> None:
    main = signatures[0]
    if (len(main.inputs), len(main.outputs)) != (num_inputs, num_outputs):
        raise UnsupportedModelError(
            "Every input and output must have a name of its own. "
            f"Received: {len(main.inputs)} names for {num_inputs} inputs, {len(main.outputs)} for "
            f"{num_outputs} outputs. Export the model with a signature."
        )
    tensors = [item for way in signatures for item in (*way.inputs, *way.outputs)]
    others = sorted({f"{item.name}: {item.type}" for item in tensors if item.type not in _TYPES})
    if others:
        raise UnsupportedModelError(
            f"Inputs and outputs must be of {', '.join(_TYPES)}. Received: {', '.join(others)}. "
            "Export the model with other inputs and outputs."
        )
    large = [f"{item.name}: {item.shape}" for item in tensors if prod(item.shape) > _MOST_VALUES]
    if large:
        raise UnsupportedModelError(
            f"A test vector has room for {_MOST_VALUES:,} values an input or output. "
            f"Received: {', '.join(large)}. Export the model with smaller ones."
        )


def _assets(subject: Subject) -> dict[str, bytes]:
    data, metadata = subject.file.data, subject.metadata
    assets = {"assets/model.tflite": data}
    assets["assets/model.json"] = metadata_json(data, metadata).encode()
    if metadata.labels:
        assets["assets/labels.txt"] = ("\n".join(metadata.labels) + "\n").encode()
    return assets


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    with atomic_folder(folder) as temporary:
        for name, content in contents.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
