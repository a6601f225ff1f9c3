"""What the commands that write a folder share: stage lines, and the closing words."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class Written:
    """A folder that a command wrote.

    Attributes:
        text: What to say of it.
        report: Its JSON file that tells all.
    """

    text: str
    report: Path

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> str:
        """Gives the content of the JSON file."""
        return self.report.read_text("utf-8").strip()


def finish(run: Callable[..., Any], out: str, quiet: bool) -> Written:
    """Runs a job that writes a folder; prints its outcome if its file fails the parity gate.

    Args:
        run: Takes `announce` and `quiet`, gives an `Outcome`.
        out: The folder.
        quiet: Whether to keep silent before.

    Returns:
        What it wrote.

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
    names = f"{out}/model_int8.tflite, policy.json, policy.png, report.json, …"
    text = f"\n{format_outcome(outcome)}\n\nWritten: {names}"
    return Written(text, Path(out) / "report.json")


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
