"""Reading JSON documents strictly: nothing unknown, nothing missing, nothing twice, no NaN."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tf_metacompress.atomic import PathLike
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
    did_you_mean,
)

SCHEMA_VERSION = 1
"""Version written into, and expected of, every document of this package."""

Built = TypeVar("Built")


def to_text(document: Mapping[str, Any]) -> str:
    """Writes a document as JSON, with its schema version first.

    Args:
        document: Plain values by key, all of them finite.

    Returns:
        Indented JSON with a final newline.
    """
    whole = {"schema_version": SCHEMA_VERSION, **document}
    return json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_text(path: PathLike) -> str:
    """Reads a text file.

    Args:
        path: The file.

    Returns:
        Its contents, decoded as UTF-8.

    Raises:
        CorruptFileError: If it cannot be read or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{str(path)!r} cannot be read: {error}.") from error


def parse(text: str, *, what: str) -> dict[str, Any]:
    """Parses a document and checks its schema version.

    Args:
        text: JSON, whose outermost value is an object.
        what: Words for the document in messages, such as "policy".

    Returns:
        The document without its schema version.

    Raises:
        CorruptFileError: If it is not JSON, holds NaN, infinity or a key twice, or has another
            version.
    """
    try:
        document = json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except (TypeError, ValueError, RecursionError) as error:
        raise CorruptFileError(f"The {what} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise CorruptFileError(f"The {what} must be a JSON object, not {_kind(document)}.")
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise CorruptFileError(
            f"The {what} must have schema_version {SCHEMA_VERSION}. "
            f"Received: schema_version={version!r}."
        )
    return document


def check_keys(
    value: object, *, where: str, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Checks that a value is an object with the right keys.

    Args:
        value: The parsed value.
        where: Its place in the document, such as "rules[0]".
        required: Keys that must be there.
        optional: Keys that may be there.

    Returns:
        The object.

    Raises:
        CorruptFileError: If it is not an object, lacks a key or has an unknown one.
    """
    if not isinstance(value, dict):
        raise CorruptFileError(f"{where} must be an object, not {_kind(value)}.")
    known = [*required, *optional]
    for key in value:
        if key not in known:
            hint = did_you_mean(key, known)
            raise CorruptFileError(f"{where} has the unknown key {key!r}. {hint}".rstrip())
    for key in required:
        if key not in value:
            raise CorruptFileError(f"{where} lacks the key {key!r}.")
    return value


def check_list(value: object, *, where: str) -> list[Any]:
    """Checks that a value is a list.

    Args:
        value: The parsed value.
        where: Its place in the document.

    Returns:
        The list.

    Raises:
        CorruptFileError: If it is something else.
    """
    if not isinstance(value, list):
        raise CorruptFileError(f"{where} must be a list, not {_kind(value)}.")
    return value


def build(make: Callable[..., Built], *args: object, where: str, **fields: object) -> Built:
    """Calls a constructor, turning what it refuses into an error about the document.

    Args:
        make: The constructor.
        *args: Its positional arguments.
        where: Place in the document that the arguments come from.
        **fields: Its keyword arguments.

    Returns:
        What `make` returns.

    Raises:
        CorruptFileError: If `make` refuses an argument.
    """
    try:
        return make(*args, **fields)
    except (InvalidArgumentError, ArgumentTypeError) as error:
        raise CorruptFileError(f"{where}: {error}") from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that JSON allows")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return document


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
