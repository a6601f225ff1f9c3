"""The shell and files of a machine, through the stock `ssh` program."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tf_metacompress.deploy.devices.remote_shell import (
    Answer,
    call_tool,
    failure,
    last_lines,
    marked,
    read_marked,
)
from tf_metacompress.errors import DeviceError, invalid

_GET_SSH = (
    "Install it (Debian and Ubuntu: apt install openssh-client), or name it: SshDevice(ssh=...)."
)
# A dead connection is noticed within 15 s; nobody is there to type a password.
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_PROBLEMS = (
    (
        r"permission denied|too many authentication|no such identity|bad permissions",
        "refused",
        "does not let us in",
        "Set a key up (ssh-copy-id) or name one with `identity`; passwords are not asked for.",
    ),
    (
        r"host key verification failed|host identification has changed",
        "refused",
        "is not known by its key",
        "Connect once by hand (`ssh HOST`) and compare the fingerprint.",
    ),
    (
        r"could not resolve|name or service not known",
        "missing",
        "is not found",
        "Check the name, or give the address.",
    ),
    (
        r"connection refused|no route|unreachable|connect to .* timed out|operation timed out",
        "missing",
        "is not reached",
        "Is it on, in this network, and does its sshd listen on this port?",
    ),
)
_NAME = re.compile(r"[^\s@\-][^\s@]*")
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+)|(?P<bare>[^\[\]]*:.*:[^\[\]]*))"
    r"(?::(?P<port>\d{1,5}))?"
)


def read_address(address: str) -> dict[str, str | int | None]:
    """Takes "[USER@]HOST[:PORT]" apart; an IPv6 address with a port stands in brackets.

    Args:
        address: The text.

    Returns:
        "host", "user" and "port", None where not given.

    Raises:
        InvalidArgumentError: If it is no such address.

    Example:
        >>> read_address("pi@[fe80::1]:2222")
        {'host': 'fe80::1', 'user': 'pi', 'port': 2222}
    """
    found = _ADDRESS.fullmatch(address)
    host = found and (found["six"] or found["host"] or found["bare"])
    if not found or not host:
        raise invalid("An ssh address must be [USER@]HOST[:PORT].", address=address)
    return {
        "host": check_name("host", host),
        "user": check_name("user", found["user"]) if found["user"] else None,
        "port": int(found["port"]) if found["port"] else None,
    }


def check_name(what: str, name: str) -> str:
    """Checks a host or user, which must not look like an option of ssh.

    Args:
        what: What it is, for the message.
        name: The name.

    Returns:
        The same name.

    Raises:
        InvalidArgumentError: If it is empty, begins with "-" or holds spaces.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid(
            f"`{what}` must be a name without spaces, not beginning with '-'.", **{what: name}
        )
    return name


@dataclass(frozen=True)
class SshShell:
    """Shell and files of one machine.

    Attributes:
        ssh: The ssh program.
        host: The machine.
        words: Options of ssh: user, port, identity.
    """

    ssh: str
    host: str
    words: Sequence[str]

    @property
    def name(self) -> str:
        """What to call the machine."""
        return f"ssh:{self.host}"

    def run(self, script: str, timeout_s: float) -> Answer:
        """Runs a script; see `RemoteShell.run`."""
        return self._call(script, timeout_s, None)

    def push(self, data: bytes, path: str, timeout_s: float) -> None:
        """Writes a file; see `RemoteShell.push`."""
        answer = self._call(f"cat > {shlex.quote(path)}", timeout_s, data)
        if answer.code:
            raise failure(f"Cannot write {path} on {self.name}", answer.text)

    def _call(self, script: str, timeout_s: float, data: bytes | None) -> Answer:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        remote = f"sh -c {shlex.quote(marked(script))}"
        command = [self.ssh, "-T", *options, *self.words, "--", self.host, remote]
        done = call_tool(command, timeout_s, _GET_SSH, data)
        answer = read_marked(done.stdout)
        if answer is None:
            raise self._problem((done.stderr + done.stdout).decode("utf-8", "replace"))
        return answer

    def _problem(self, said: str) -> DeviceError:
        for pattern, reason, what, advice in _PROBLEMS:
            if re.search(pattern, said, re.IGNORECASE):
                message = f"{self.name} {what}. {advice} ssh said: {last_lines(said, 1)}"
                return DeviceError(message, reason=reason)
        return DeviceError(f"{self.name} went away. ssh said: {last_lines(said)}", reason="gone")
