"""One command: its flags, its help with an example, and what it runs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from absl import flags

from tf_metacompress.errors import did_you_mean


class Result(Protocol):
    """What a command gives: printed as text, or as JSON with --json."""

    def to_json(self) -> str:
        """Gives it as JSON."""


Run = Callable[[flags.FlagValues, Sequence[str]], Result | None]
Check = Callable[[flags.FlagValues], None]
MORE = "…"
"""As the last of the positional arguments: any number of them may follow."""

_FLAG = re.compile(r"--[a-z0-9]+(_[a-z0-9]+)+")
_COLUMN = 18


class UsageError(Exception):
    """The words on the command line are off."""


def _nothing(values: flags.FlagValues) -> None:
    return None


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        name: The word that calls it.
        summary: What it does, in a line.
        arguments: Names of its positional arguments, `MORE` last if more may follow.
        example: A call that works.
        define: Defines its flags.
        run: Runs it with parsed flags and positional arguments, and gives its result, which is
            printed. What it prints itself goes to stderr with --json.
        check: Raises `UsageError` for flags that do not go together or are out of range; quick, as
            it runs before anything heavy is imported.
    """

    name: str
    summary: str
    arguments: tuple[str, ...]
    example: str
    define: Callable[[flags.FlagValues], None]
    run: Run
    check: Check = _nothing

    def help(self) -> str:
        """Its help: usage, flags, example."""
        values = self.new_flags()
        words = " ".join(self.arguments)
        lines = [f"usage: tf-metacompress {self.name} {words} [flags]".replace("  ", " ")]
        lines += ["", self.summary, "", "flags:"]
        for name in sorted(values):
            default = values[name].default
            shown = "" if default in (None, "", False) else f" [{default}]"
            flag = "--" + name.replace("_", "-")
            lines.append(f"  {flag:<{_COLUMN}} {values[name].help}{shown}")
        return "\n".join([*lines, "", "example:", f"  {self.example}"])

    def new_flags(self) -> flags.FlagValues:
        """Its flags, not parsed yet."""
        values = flags.FlagValues()
        flags.DEFINE_bool(
            "verbose",
            False,
            "Show the traceback of an error, and all that TensorFlow prints.",
            flag_values=values,
        )
        flags.DEFINE_bool(
            "json", False, "Print the result as JSON, and nothing else.", flag_values=values
        )
        self.define(values)
        return values

    def parse(self, words: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
        """Reads the words after the command.

        Args:
            words: Flags and positional arguments, in any order.

        Returns:
            The parsed flags and the positional arguments.

        Raises:
            UsageError: When a flag is unknown or malformed, or arguments are missing or too many.
        """
        values = self.new_flags()
        values.set_gnu_getopt(True)
        try:
            positional = values([self.name, *map(_underscored, words)])[1:]
        except flags.UnrecognizedFlagError as error:
            known = [f"--{name.replace('_', '-')}" for name in values]
            given = f"--{error.flagname.replace('_', '-')}"
            hint = did_you_mean(given, known)
            raise UsageError(f"There is no flag {given}. {hint}".rstrip()) from error
        except flags.Error as error:
            raise UsageError(_dashed(str(error)).rstrip(".") + ".") from error
        fits = len(positional) == len(self.arguments)
        if self.arguments[-1:] == (MORE,):
            fits = len(positional) >= len(self.arguments) - 1
        if not fits:
            wanted = " ".join(self.arguments) or "no arguments"
            raise UsageError(f"{self.name} takes {wanted}. Received: {positional}.")
        return values, positional


def _underscored(word: str) -> str:
    """Accepts --size-ratio for the flag that absl calls size_ratio."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _dashed(text: str) -> str:
    """Writes the flags in a message as the user does."""
    return _FLAG.sub(lambda match: match[0].replace("_", "-"), text)
