"""The folder of a run: one run at a time, and what a killed run left half-written is cleared."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tf_metacompress.atomic import check_writable, remove_leftovers
from tf_metacompress.errors import invalid

STAGES = "stages"
_LOCK = ".lock"


@contextmanager
def run_folder(out: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """Holds a folder for one run, creating it if need be.

    Temporary files of runs that were killed are removed: in the folder itself those of the files
    that a run writes there, and all below `stages`, which is the run's own.

    Args:
        out: Folder to write into.
        names: Names of the files that the run writes into it.

    Yields:
        The folder.

    Raises:
        InvalidArgumentError: If it cannot be written, or another run is writing into it.
    """
    out = Path(out)
    check_writable(out / "report.json")
    stages = out / STAGES
    stages.mkdir(parents=True, exist_ok=True)
    with (stages / _LOCK).open("w") as lock:
        try:
            # The system releases it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise invalid(
                "Another run is writing into this folder.",
                "Wait for it to end, or pass another folder.",
                out=str(out),
            ) from error
        remove_leftovers(out, names)
        for directory in (path for path in stages.iterdir() if path.is_dir()):
            remove_leftovers(directory)
        yield out
