"""`tf-metacompress bundle FILE.tflite`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from absl import flags

from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.errors import invalid


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("out", "", "Folder to make; new or empty.", flag_values=values)
    flags.DEFINE_string(
        "package", "com.example.model", "Kotlin package of the code.", flag_values=values
    )
    flags.DEFINE_string(
        "name", "", "Name of the model; empty: that of the file.", flag_values=values
    )
    flags.DEFINE_string("labels", "", "Text file, one label a line.", flag_values=values)
    flags.DEFINE_list(
        "mean", None, "Taken from raw inputs: one, or one a channel.", flag_values=values
    )
    flags.DEFINE_list("std", None, "What that is divided by; as many.", flag_values=values)
    flags.DEFINE_bool("softmax", None, "Take softmax of the first output.", flag_values=values)
    flags.DEFINE_string("policy", "", "Policy file (JSON) it was made with.", flag_values=values)
    flags.DEFINE_string("source", "", "Model file it was made from.", flag_values=values)
    flags.DEFINE_string(
        "sample", "", ".npy or .npz with raw inputs for the test vector.", flag_values=values
    )
    told = "What benchmark --json printed; may be repeated."
    flags.DEFINE_multi_string("benchmark", None, told, flag_values=values)
    values["benchmark"].help = told


def _check(values: flags.FlagValues) -> None:
    if not values.out:
        raise UsageError("bundle needs --out=DIR.")
    mean, std = (_numbers(name, values[name].value or ()) for name in ("mean", "std"))
    if len(mean) != len(std):
        raise UsageError("--mean and --std go together, as many of one as of the other.")


def _numbers(name: str, words: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, words))
    except ValueError as error:
        raise UsageError(f"--{name} takes numbers. Received: {','.join(words)}.") from error


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    from tf_metacompress.deploy import ModelMetadata, bundle_android, read_metadata

    said = read_metadata(positional[0]) or ModelMetadata()
    return bundle_android(
        positional[0],
        values.out,
        metadata=replace(said, **_changes(values, positional[0])),
        package=values.package,
        sample=_sample(values.sample, positional[0]) if values.sample else None,
        benchmarks=values.benchmark or (),
    )


def _changes(values: flags.FlagValues, model: str) -> dict[str, Any]:
    """What the flags say otherwise than the file."""
    from tf_metacompress.deploy import Normalization
    from tf_metacompress.policy import Policy

    changes: dict[str, Any] = {}
    if values.name:
        changes["name"] = values.name
    if values.labels:
        changes["labels"] = _labels(values.labels)
    if values.mean:
        scaling = Normalization(mean=_numbers("mean", values.mean), std=_numbers("std", values.std))
        changes["normalization"] = {_only_input(model, "--mean and --std"): scaling}
    if values.softmax is not None:
        changes["softmax"] = values.softmax
    if values.policy:
        changes["policy"] = json.loads(Policy.load(values.policy).to_json())
    if values.source:
        content = _content(values.source)
        changes["source"] = Path(values.source).name
        changes["source_sha256"] = hashlib.sha256(content).hexdigest()
    return changes


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise invalid(f"Cannot read the file: {error.strerror}.", path=path) from error


def _labels(path: str) -> tuple[str, ...]:
    try:
        text = _content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid("Labels must be UTF-8 text, one a line.", path=path) from error
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines == [""]:
        raise invalid("There must be one label a line.", path=path)
    return tuple(lines)


def _only_input(model: str, what: str) -> str:
    from tf_metacompress.deploy.flatreader import read_flatfile

    names = tuple(read_flatfile(_content(model), model).input_names)
    if len(names) != 1:
        raise invalid(
            f"{what} are for a file with one input.",
            "Say which by name: `bundle_android` in Python, or a .npz.",
            inputs=names,
        )
    return names[0]


def _sample(path: str, model: str) -> dict[str, Any]:
    import numpy as np

    try:
        told = np.load(path, allow_pickle=False)
        named = {} if isinstance(told, np.ndarray) else {name: told[name] for name in told.files}
    except OSError as error:
        raise invalid(f"Cannot read the file: {error.strerror or error}.", path=path) from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise invalid("The sample must be a .npy or .npz file of numbers.", path=path) from error
    return named or {_only_input(model, "A sample in a .npy"): told}


BUNDLE = Command(
    name="bundle",
    summary="Writes a .tflite file with Kotlin code, a test vector and a page for Android.",
    arguments=("FILE.tflite",),
    example="tf-metacompress bundle model.tflite --out=handover --labels=labels.txt",
    define=_define,
    run=_run,
    check=_check,
)
