"""Checks of flag values, before anything heavy is imported."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from tf_metacompress.atomic import check_writable
from tf_metacompress.cli.command import UsageError
from tf_metacompress.errors import InvalidArgumentError


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """Turns an error about an argument into one about the command line."""
    try:
        yield
    except InvalidArgumentError as error:
        raise UsageError(str(error)) from error


def check_target(values: flags.FlagValues) -> None:
    """Checks --size-ratio and --device.

    Args:
        values: Parsed flags.

    Raises:
        UsageError: If the ratio is not in (0, 1] or there is no such device.
    """
    from tf_metacompress.policy import Budget, device

    with as_usage():
        if values.size_ratio is not None:
            Budget(size_ratio=values.size_ratio)
        device(values.device)


def check_folder(path: str) -> None:
    """Checks that a folder can be written into.

    Args:
        path: The folder; it need not exist.

    Raises:
        InvalidArgumentError: If it cannot.
    """
    check_writable(Path(path) / "report.json")
