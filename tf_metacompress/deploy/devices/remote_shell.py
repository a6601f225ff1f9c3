"""The shell of another machine: what it answered, a folder on it, and quoting.

Paths of the caller never reach a remote shell: files get fixed names in a folder of our own, and
whatever else goes into a command is quoted for a POSIX shell.
"""

import secrets
import shlex
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tf_metacompress.errors import DeviceError

_END = "tf_metacompress_end:"
_SHORT_S = 20.0
_FULL = "No space left on device"


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Attributes:
        code: Its exit code.
        text: What it printed, on either stream.
    """

    code: int
    text: str


class RemoteShell(Protocol):
    """A machine that runs commands and takes files."""

    name: str

    def run(self, script: str, timeout_s: float) -> Answer:
        """Runs a script of a POSIX shell.

        Args:
            script: The script.
            timeout_s: Seconds after which it is given up.

        Returns:
            How it ended.

        Raises:
            DeviceError: If the machine cannot be reached or goes away before the script ends.
        """
        ...

    def push(self, data: bytes, path: str, timeout_s: float) -> None:
        """Writes a file.

        Args:
            data: What goes into it.
            path: The file there.
            timeout_s: Seconds after which it is given up.

        Raises:
            DeviceError: If it cannot be written.
        """
        ...


def quoted(words: Sequence[str]) -> str:
    """Joins words to a command that a POSIX shell takes apart into the same words.

    Example:
        >>> quoted(["ls", "a b;reboot"])
        "ls 'a b;reboot'"
    """
    return shlex.join(words)


def marked(script: str) -> str:
    """Lets a script say when it has ended, as the exit codes of remote shells cannot be trusted."""
    return f'( {script}\n) 2>&1; x=$?; echo; echo "{_END}$x"'


def read_marked(output: bytes) -> Answer | None:
    """Reads the output of a marked script.

    Args:
        output: What came back.

    Returns:
        How the script ended, None when its end did not arrive.
    """
    text = output.decode("utf-8", "replace").replace("\r\n", "\n")
    text, found, code = text.rpartition(f"\n{_END}")
    if not found or not code.strip().isdecimal():
        return None
    return Answer(int(code), text.removesuffix("\n"))


def call_tool(
    command: Sequence[str], timeout_s: float, how_to_get: str, data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program of this machine.

    Args:
        command: The program and its arguments.
        timeout_s: Seconds after which it is killed.
        how_to_get: What to do if there is no such program.
        data: What it can read; nothing by default.

    Returns:
        The finished process.

    Raises:
        DeviceError: If there is no such program, or it does not end in time.
    """
    given = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    try:
        return subprocess.run(list(command), capture_output=True, timeout=timeout_s, **given)
    except OSError as error:
        raise DeviceError(
            f"Cannot run {command[0]!r}: {error.strerror}. {how_to_get}", reason="missing"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"The device gave no answer within {timeout_s:g} s, so it was given up. "
            "Check the connection, or allow more with `timeout_s`.",
            reason="timeout",
        ) from error


@contextmanager
def remote_folder(shell: RemoteShell, base: str) -> Iterator[str]:
    """Lends a new folder on the machine, and removes it with what still runs in it.

    Args:
        shell: The machine.
        base: The folder to make it in.

    Yields:
        The path of the folder there.

    Raises:
        DeviceError: If it cannot be made.
    """
    folder = f"{base.rstrip('/')}/tf_metacompress_{secrets.token_hex(6)}"
    made = shell.run(f"umask 077; mkdir {shlex.quote(folder)}", _SHORT_S)
    if made.code:
        raise failure(f"Cannot make a folder in {base} on {shell.name}", made.text)
    try:
        yield folder
    except BaseException as error:
        error.add_note(_remove(shell, folder))
        raise
    left = _remove(shell, folder)
    if left:
        warnings.warn(left, stacklevel=3)


def run_in(shell: RemoteShell, folder: str, words: Sequence[str], timeout_s: float) -> Answer:
    """Runs a command in a remote folder, so that removing the folder would stop it.

    Args:
        shell: The machine.
        folder: A folder lent by `remote_folder`.
        words: The command.
        timeout_s: Seconds after which it is given up.

    Returns:
        How it ended.
    """
    inner = shlex.quote(f"echo $$ > pid; exec {quoted(words)}")
    script = f"cd {shlex.quote(folder)} || exit 1\nsh -c {inner}; x=$?; rm -f pid; exit $x"
    return shell.run(script, timeout_s)


def failure(what: str, text: str) -> DeviceError:
    """Builds, without raising, the error for a remote command that failed.

    Args:
        what: What could not be done.
        text: What the command said.

    Returns:
        The error.
    """
    if _FULL in text:
        return DeviceError(
            f"{what}: its storage is full. Free some space there. It said: {last_lines(text)}",
            reason="full",
        )
    return DeviceError(f"{what}. It said: {last_lines(text)}")


def last_lines(text: str, count: int = 3) -> str:
    """Shows the end of what a tool said, on one line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:])[-400:] or "nothing"


def _remove(shell: RemoteShell, folder: str) -> str:
    """Removes a folder and what runs in it, and says so when it could not."""
    pid = shlex.quote(f"{folder}/pid")
    script = f"if [ -f {pid} ]; then kill -9 $(cat {pid}); fi; rm -rf {shlex.quote(folder)}"
    try:
        answer = shell.run(script, _SHORT_S)
    except DeviceError as error:
        return f"{folder} was left on {shell.name}: {error}"
    return f"{folder} was left on {shell.name}: {last_lines(answer.text)}" if answer.code else ""
