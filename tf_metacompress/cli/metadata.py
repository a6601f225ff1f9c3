"""The flags that say what goes into a model and what comes out, for `bundle` and `export`."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tf_metacompress.cli.command import UsageError
from tf_metacompress.errors import invalid

NAMES = ("name", "labels", "mean", "std", "softmax")


def define_metadata(values: flags.FlagValues) -> None:
    """Defines --name, --labels, --mean, --std and --softmax.

    Args:
        values: Where to define them.
    """
    flags.DEFINE_string(
        "name", "", "Name of the model; empty: that of the file.", flag_values=values
    )
    flags.DEFINE_string("labels", "", "Text file, one label a line.", flag_values=values)
    flags.DEFINE_list(
        "mean", None, "Taken from raw inputs: one, or one a channel.", flag_values=values
    )
    flags.DEFINE_list("std", None, "What that is divided by; as many.", flag_values=values)
    flags.DEFINE_bool("softmax", None, "Take softmax of the first output.", flag_values=values)


def check_metadata(values: flags.FlagValues) -> None:
    """Checks --mean and --std.

    Args:
        values: Parsed flags.

    Raises:
        UsageError: If they are no numbers, or not as many of one as of the other.
    """
    mean, std = (_numbers(name, values[name].value or ()) for name in ("mean", "std"))
    if len(mean) != len(std):
        raise UsageError("--mean and --std go together, as many of one as of the other.")


def _numbers(name: str, words: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, words))
    except ValueError as error:
        raise UsageError(f"--{name} takes numbers. Received: {','.join(words)}.") from error


def told_metadata(
    values: flags.FlagValues, input_names: Callable[[], Sequence[str]]
) -> dict[str, Any]:
    """Reads what the flags say.

    Args:
        values: Parsed and checked flags.
        input_names: Gives the names of the model's inputs; called only where they matter.

    Returns:
        Fields of `ModelMetadata`; those that no flag names are left out.

    Raises:
        InvalidArgumentError: If the file of labels cannot be used, or it is not clear which input
            is normalised.
    """
    from tf_metacompress.deploy import Normalization

    told: dict[str, Any] = {}
    if values.name:
        told["name"] = values.name
    if values.labels:
        told["labels"] = _labels(values.labels)
    if values.mean:
        scaling = Normalization(mean=_numbers("mean", values.mean), std=_numbers("std", values.std))
        told["normalization"] = {only_input(input_names(), "--mean and --std"): scaling}
    if values.softmax is not None:
        told["softmax"] = values.softmax
    return told


def told_source(path: str) -> dict[str, str]:
    """Names and hashes the file that a model was made from.

    Args:
        path: The file.

    Returns:
        Fields of `ModelMetadata`.

    Raises:
        InvalidArgumentError: If it cannot be read.
    """
    digest = hashlib.sha256(content_of(path)).hexdigest()
    return {"source": Path(path).name, "source_sha256": digest}


def content_of(path: str) -> bytes:
    """Reads a file that a flag names.

    Args:
        path: The file.

    Returns:
        Its bytes.

    Raises:
        InvalidArgumentError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise invalid(f"Cannot read the file: {error.strerror}.", path=path) from error


def _labels(path: str) -> tuple[str, ...]:
    try:
        text = content_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid("Labels must be UTF-8 text, one a line.", path=path) from error
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines == [""]:
        raise invalid("There must be one label a line.", path=path)
    return tuple(lines)


def only_input(names: Sequence[str], what: str) -> str:
    """Gives the one input of a model.

    Args:
        names: Names of its inputs.
        what: What is meant for it, for the error.

    Returns:
        Its name.

    Raises:
        InvalidArgumentError: If there are several.
    """
    if len(names) != 1:
        raise invalid(
            f"{what} are for a file with one input.",
            "Say which by name: `ModelMetadata` in Python, or a .npz.",
            inputs=tuple(names),
        )
    return names[0]
