"""Time series with class labels from `.ts` text, the format of sktime and of the UEA archive."""

import zipfile
from pathlib import Path

import numpy as np

from tf_metacompress.errors import CorruptFileError, invalid

Series = tuple[np.ndarray, np.ndarray, tuple[str, ...]]


def load_ts(path: str | Path, member: str | None = None) -> Series:
    r"""Reads labelled time series of equal length without gaps and time stamps.

    Args:
        path: A `.ts` file, or a zip file.
        member: Name of the `.ts` file within the zip file; None when `path` is the file itself.

    Returns:
        Series as float32 of shape (N, steps, channels), class indices of shape (N,), and the
        names of the classes in the order of their index.

    Raises:
        InvalidArgumentError: If the file, or the member, does not exist.
        CorruptFileError: If it does not hold such series.

    Example:
        >>> from pathlib import Path
        >>> lines = ["@classLabel true Rest Run", "@data", "1,2:3,4:Run", "5,6:7,8:Rest"]
        >>> _ = Path("two.ts").write_text("\n".join(lines))
        >>> x, y, names = load_ts("two.ts")
        >>> x[0].tolist(), y.tolist(), names
        ([[1.0, 3.0], [2.0, 4.0]], [1, 0], ('Rest', 'Run'))
    """
    path = Path(path)
    if not path.is_file():
        raise invalid("`path` must exist.", "Pass a .ts file or a zip file.", path=str(path))
    header, _, body = _text(path, member).partition("@data")
    where = f"{path}/{member}" if member else str(path)
    names = _class_names(header, where)
    rows = [row.strip().split(":") for row in body.splitlines() if row.strip()]
    if {row[-1] for row in rows} - set(names):
        raise _corrupt(where, "a label is none of @classLabel")
    try:
        x = np.array(
            [[np.array(c.split(","), np.float32) for c in row[:-1]] for row in rows], np.float32
        )
    except ValueError as error:
        raise _corrupt(where, str(error)) from error
    if x.ndim != 3 or not np.isfinite(x).all():
        raise _corrupt(where, f"no series, or a gap in one; shape {x.shape}")
    y = np.array([names.index(row[-1]) for row in rows])
    return np.ascontiguousarray(x.transpose(0, 2, 1)), y, names


def _text(path: Path, member: str | None) -> str:
    try:
        if member is None:
            return path.read_text("utf-8")
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist():
                raise invalid(
                    "`member` must be in the zip file.", member=member, files=archive.namelist()
                )
            return archive.read(member).decode("utf-8")
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise _corrupt(str(path), str(error)) from error


def _class_names(header: str, where: str) -> tuple[str, ...]:
    for line in header.splitlines():
        words = line.split()
        if words[:1] == ["@classLabel"] and words[1:2] == ["true"] and len(words) > 2:
            return tuple(words[2:])
    raise _corrupt(where, "no line `@classLabel true …`")


def _corrupt(where: str, reason: str) -> CorruptFileError:
    return CorruptFileError(
        "A .ts file must hold labelled series of equal length without gaps. "
        f"Received: {where!r} ({reason}). Use another file, or fill the gaps."
    )
