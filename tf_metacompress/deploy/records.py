"""Results as frozen data that can be written as JSON."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from tf_metacompress.atomic import PathLike, write_text

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


class Record:
    """Base of the frozen results: `to_dict`, `to_json` and `save`."""

    def to_dict(self) -> dict[str, Any]:
        """Gives the fields as plain lists, dicts, numbers and strings."""
        return {"schema_version": SCHEMA_VERSION, **_plain(self)}

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
