"""Files that are written whole or not at all.

Each write goes to a temporary file beside its destination, which is then renamed over it. A run
that is interrupted, even by `kill -9`, leaves the earlier file as it was.
"""

import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_metacompress.errors import invalid, wrong_type

PathLike = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\.(?P<stem>.*)\.[0-9a-f]{12}\.tmp(?P<suffix>\.[^.]*)?")


def check_writable(path: PathLike) -> Path:
    """Checks, before any work is done, that a file can be written.

    Missing parent directories are allowed: they are created on writing. Nothing is left on the
    disk.

    Args:
        path: The file to be written, or an existing directory to write into.

    Returns:
        The same path as a `Path`.

    Raises:
        InvalidArgumentError: If the nearest existing directory is not a directory or not writable.
        ArgumentTypeError: If `path` is not a path.
    """
    path = _as_path(path)
    try:
        directory = path if path.is_dir() else path.parent
        while not directory.exists() and directory != directory.parent:
            directory = directory.parent
        with tempfile.TemporaryFile(dir=directory):
            return path
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Lends a temporary path that replaces `path` when the block succeeds.

    The temporary file lies in the same directory and ends in the same suffix, so that writers which
    look at the suffix (Keras does) accept it. Missing parent directories are created.

    Args:
        path: The file to be written.

    Yields:
        The temporary path to write to.

    Raises:
        InvalidArgumentError: If the directory is not writable, if `path` is a directory, or if the
            block wrote nothing.
        ArgumentTypeError: If `path` is not a path.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = check_writable(path)
    if path.is_dir():
        raise invalid("`path` must name a file, not a directory.", path=str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = path.with_name(f".{_short_stem(path)}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        yield temporary
        if not temporary.is_file():
            raise invalid("Nothing was written to the temporary file.", path=str(path))
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_new_folder(path: PathLike) -> Path:
    """Checks, before any work is done, that a folder can be made or filled.

    Args:
        path: The folder; it must not exist, or be empty.

    Returns:
        The same path as an absolute `Path`.

    Raises:
        InvalidArgumentError: If something is there, or the nearest existing directory is not
            writable.
        ArgumentTypeError: If `path` is not a path.
    """
    path = Path(os.path.abspath(_as_path(path)))
    check_writable(path.parent / path.name)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise invalid(
            "The folder must be new or empty.", "Name another, or remove it.", path=str(path)
        )
    return path


@contextmanager
def atomic_folder(path: PathLike) -> Iterator[Path]:
    """Lends a temporary folder that becomes `path` when the block succeeds.

    Args:
        path: The folder to be made; it must not exist, or be empty.

    Yields:
        The temporary folder to write into.

    Raises:
        InvalidArgumentError: If something is there, or the folder cannot be made.
        ArgumentTypeError: If `path` is not a path.
    """
    path = check_new_folder(path)
    temporary = path.with_name(f".{_short_stem(path)}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            _flush_to_disk(file)
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(
    directory: PathLike, names: Iterable[PathLike] | None = None
) -> tuple[Path, ...]:
    """Removes temporary files that a killed process left behind.

    Only names that `atomic_path` gives are touched. Call it only where no other process is writing.

    Args:
        directory: Where to look; folders below it are left alone.
        names: File names whose temporary files may go; None for any.

    Returns:
        The files removed.
    """
    wanted = None if names is None else {(_short_stem(p), p.suffix) for p in map(Path, names)}
    removed = []
    for path in sorted(_as_path(directory).glob(".*.tmp*")):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        if wanted is None or (match["stem"], match["suffix"] or "") in wanted:
            path.unlink(missing_ok=True)
            removed.append(path)
    return tuple(removed)


def _short_stem(path: Path) -> str:
    return path.stem[:40]


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Writes bytes to a file, whole or not at all.

    Args:
        path: The file to be written.
        data: Its contents.

    Returns:
        The path written.

    Raises:
        InvalidArgumentError: If the file cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data)
        except OSError as error:
            raise _unwritable(Path(path), error) from error
    return Path(path)


def write_text(path: PathLike, text: str) -> Path:
    """Writes text to a file in UTF-8, whole or not at all.

    Args:
        path: The file to be written.
        text: Its contents.

    Returns:
        The path written.

    Raises:
        InvalidArgumentError: If the file cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: PathLike, value: Any) -> Path:
    """Writes a value as indented JSON, whole or not at all.

    Args:
        path: The file to be written.
        value: Anything `json` can express; NaN and infinity are refused.

    Returns:
        The path written.

    Raises:
        InvalidArgumentError: If the file cannot be written, or the value not be expressed in JSON.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise invalid(f"The value for {str(path)!r} cannot be written as JSON: {error}.") from error
    return write_text(path, text + "\n")


def _as_path(path: PathLike) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise wrong_type("`path` must be a string or a Path.", path=path)
    if not str(path) or "\0" in str(path):
        raise invalid("`path` must name a file.", path=str(path))
    return Path(path)


def _unwritable(path: Path, error: OSError) -> Exception:
    reason = error.strerror or str(error)
    return invalid(
        f"Cannot write here: {reason}.", "Choose a directory that you can write to.", path=str(path)
    )


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
