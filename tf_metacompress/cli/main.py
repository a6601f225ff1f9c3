"""Entry point: finds the command, runs it, turns errors into one line and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout

from absl import flags

from tf_metacompress.cli.benchmark import BENCHMARK
from tf_metacompress.cli.bundle import BUNDLE
from tf_metacompress.cli.command import Command, UsageError
from tf_metacompress.cli.compare import COMPARE
from tf_metacompress.cli.compress import COMPRESS
from tf_metacompress.cli.demo import DEMO
from tf_metacompress.cli.export import EXPORT
from tf_metacompress.cli.inspect_file import INSPECT
from tf_metacompress.cli.interrupt import insistent_interrupts
from tf_metacompress.cli.meta_train import META_TRAIN
from tf_metacompress.cli.noise import known_noise_held_back
from tf_metacompress.errors import MetacompressError, did_you_mean

COMMANDS: dict[str, Command] = {
    c.name: c for c in (DEMO, COMPRESS, EXPORT, INSPECT, BENCHMARK, COMPARE, BUNDLE, META_TRAIN)
}
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_HELP = ("-h", "--help", "help")


def overview() -> str:
    """Help of the whole command line."""
    width = max(map(len, COMMANDS))
    lines = ["usage: tf-metacompress COMMAND [flags]", ""]
    lines += [f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS.values()]
    lines += ["", "tf-metacompress COMMAND --help shows the flags of a command and an example."]
    lines += ["", "example:", "  tf-metacompress demo"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Words after the program's name; None for those of the process.

    Returns:
        0 when all went well, 1 when the command failed, 2 when it was called wrongly, 130 when it
        was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in _HELP:
        print(overview())
        return OK if words else USAGE
    if words[0] == "--version":
        from tf_metacompress import __version__

        print(__version__)
        return OK
    command = COMMANDS.get(words[0])
    if command is None:
        hint = did_you_mean(words[0], COMMANDS) or f"There are {', '.join(COMMANDS)}."
        return _complain(f"there is no command {words[0]!r}. {hint}", USAGE)
    if any(word in _HELP[:2] for word in words[1:]):
        print(command.help())
        return OK
    return _run(command, words[1:], own_process=argv is None)


def _run(command: Command, words: Sequence[str], own_process: bool) -> int:
    verbose = "--verbose" in words
    try:
        values, positional = command.parse(words)
        verbose = values.verbose
        command.check(values)
        with ExitStack() as stack:
            if own_process:
                stack.enter_context(insistent_interrupts())
            if own_process and not verbose:
                stack.enter_context(known_noise_held_back())
            _show(command, values, positional)
    except UsageError as error:
        return _complain(f"{error} See tf-metacompress {command.name} --help.", USAGE)
    except KeyboardInterrupt:
        return _complain(
            "interrupted; finished stages are kept, run it again to go on.", INTERRUPTED
        )
    except BrokenPipeError:
        # Whoever read our output has gone; writing to it again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if verbose:
            traceback.print_exc()
        return _complain(_one_line(error, verbose), FAILED)
    return OK


def _show(command: Command, values: flags.FlagValues, positional: Sequence[str]) -> None:
    """Prints the result; with --json what else is printed on the way goes to stderr."""
    if values.json:
        with redirect_stdout(sys.stderr):
            result = command.run(values, positional)
    else:
        result = command.run(values, positional)
    if result is not None:
        print(result.to_json() if values.json else result)
    sys.stdout.flush()


def _one_line(error: Exception, verbose: bool) -> str:
    if isinstance(error, MetacompressError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error}."
    what = f"{type(error).__name__}: {error}".strip(" :.")
    hint = "please report it" if verbose else "run it again with --verbose to see where"
    return f"unexpected {what}. This is a bug; {hint}."


def _complain(message: str, code: int) -> int:
    print(f"tf-metacompress: {' '.join(message.split())}", file=sys.stderr)
    return code
