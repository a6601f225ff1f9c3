"""Results as frozen data that can be written as JSON."""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tf_metacompress.atomic import PathLike, write_text
from tf_metacompress.errors import CorruptFileError

SCHEMA_VERSION = 1


def _plain(value: Any) -> Any:
    """Turns a record into what JSON has; NaN and infinity become None."""
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _read(kind: Any, value: Any) -> Any:
    """Makes a value of an annotated type from what JSON has."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if type(None) in inner:
        return None if value is None else _read(_without_none(inner), value)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind) if field.name in value]
        return kind(**{name: _read(hints[name], value[name]) for name in names})
    if origin is tuple:
        kinds = inner[:1] * len(value) if Ellipsis in inner else inner
        return tuple(_read(each, item) for each, item in zip(kinds, value, strict=True))
    if origin in (Mapping, dict):
        return {key: _read(inner[1], item) for key, item in value.items()}
    return math.inf if kind is float and value is None else value


def _without_none(kinds: tuple[Any, ...]) -> Any:
    others = [kind for kind in kinds if kind is not type(None)]
    return others[0] if len(others) == 1 else Any


class Record:
    """Base of the frozen results: `to_dict`, `from_dict`, `to_json` and `save`."""

    def to_dict(self) -> dict[str, Any]:
        """Gives the fields as plain lists, dicts, numbers and strings."""
        return {"schema_version": SCHEMA_VERSION, **_plain(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gave.

        Args:
            values: As read from JSON; names that are not fields are left out.

        Returns:
            A record equal to the one written; a number that was not finite is infinite.

        Raises:
            CorruptFileError: If the values are no such record of this version.
        """
        if not isinstance(values, Mapping) or values.get("schema_version") != SCHEMA_VERSION:
            raise CorruptFileError(f"A {cls.__name__} must have schema_version {SCHEMA_VERSION}.")
        try:
            return _read(cls, values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(f"The values are no {cls.__name__}: {error}.") from error

    def to_json(self) -> str:
        """Gives the record as indented JSON; a number that is not finite is written as null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def save(self, path: PathLike) -> Path:
        """Writes the record as JSON, whole or not at all.

        Args:
            path: The file to be written.

        Returns:
            The path written.

        Raises:
            InvalidArgumentError: If the file cannot be written.
        """
        return write_text(path, self.to_json() + "\n")
