"""What the commands that write a folder share: stage lines, and the closing words."""

from collections.abc import Callable
from typing import Any

from absl import flags

from tf_metacompress.errors import ParityError


def define_quiet(values: flags.FlagValues) -> None:
    """Defines --quiet.

    Args:
        values: Where to define it.
    """
    flags.DEFINE_bool(
        "quiet", False, "Only the result: no progress bars, no stage lines.", flag_values=values
    )


def show_outcome(run: Callable[..., Any], quiet: bool) -> None:
    """Runs a job and prints its outcome, also when its file fails the parity gate.

    Args:
        run: Takes `announce` and `quiet`, gives an `Outcome`.
        quiet: Whether to keep silent before.

    Raises:
        ParityError: As the job raised it.
    """
    from tf_metacompress.pipeline import Outcome, format_outcome

    try:
        outcome = run(announce=announcer(quiet), quiet=quiet)
    except ParityError as error:
        if isinstance(error.report, Outcome):
            print(f"\n{format_outcome(error.report)}\n", flush=True)
        raise
    print(f"\n{format_outcome(outcome)}")


def announcer(quiet: bool) -> Callable[[str], None]:
    """Gives what prints the lines of stages.

    Args:
        quiet: Whether to keep silent.

    Returns:
        Takes a line.
    """
    return _silent if quiet else _say


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    return None
