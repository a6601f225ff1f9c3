"""`tf-metacompress bundle FILE.tflite`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zipfile import BadZipFile

from absl import flags

from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.cli.metadata import (
    check_metadata,
    content_of,
    define_metadata,
    only_input,
    told_metadata,
    told_source,
)
from tf_metacompress.errors import invalid


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("out", "", "Folder to make; new or empty.", flag_values=values)
    flags.DEFINE_string(
        "package", "com.example.model", "Kotlin package of the code.", flag_values=values
    )
    define_metadata(values)
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
    check_metadata(values)


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
    from tf_metacompress.policy import Policy

    changes = told_metadata(values, lambda: _inputs(model))
    if values.policy:
        changes["policy"] = json.loads(Policy.load(values.policy).to_json())
    if values.source:
        changes |= told_source(values.source)
    return changes


def _inputs(model: str) -> tuple[str, ...]:
    from tf_metacompress.deploy.flatreader import read_flatfile

    return tuple(read_flatfile(content_of(model), model).input_names)


def _sample(path: str, model: str) -> dict[str, Any]:
    import numpy as np

    try:
        told = np.load(path, allow_pickle=False)
        named = {} if isinstance(told, np.ndarray) else {name: told[name] for name in told.files}
    except OSError as error:
        raise invalid(f"Cannot read the file: {error.strerror or error}.", path=path) from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise invalid("The sample must be a .npy or .npz file of numbers.", path=path) from error
    return named or {only_input(_inputs(model), "A sample in a .npy"): told}


BUNDLE = Command(
    name="bundle",
    summary="Writes a .tflite file with Kotlin code, a test vector and a page for Android.",
    arguments=("FILE.tflite",),
    example="tf-metacompress bundle model.tflite --out=handover --labels=labels.txt",
    define=_define,
    run=_run,
    check=_check,
)
