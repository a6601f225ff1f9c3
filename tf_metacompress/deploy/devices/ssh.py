"""An embedded Linux board, measured over ssh with the LiteRT runtime installed on it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.delegation import delegation_of
from tf_metacompress.deploy.devices.device import Runs, register_device_kind
from tf_metacompress.deploy.devices.litert_answer import read_litert_answer
from tf_metacompress.deploy.devices.remote_shell import remote_folder, run_in
from tf_metacompress.deploy.devices.ssh_shell import SshShell, check_name, read_address
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.latency import BenchmarkResult, percentiles
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.errors import DeviceError, check_int, check_positive, invalid

_PROGRAM = Path(__file__).with_name("run_litert.py")


@dataclass(frozen=True, kw_only=True)
class SshDevice:
    """Times files on a Linux machine that ssh reaches, with `ai_edge_litert.Interpreter` there.

    Attributes:
        host: Name or address, or a name of the ssh configuration.
        user: User there; None leaves it to ssh.
        port: Port of its sshd; None leaves it to ssh.
        identity: Private key; None leaves it to ssh.
        python: Python there that has ai-edge-litert, such as "/home/pi/venv/bin/python".
        folder: Where the file is put for the run.
        ssh: The ssh program.
        options: Further words for it, such as ("-F", "my_ssh_config").
        timeout_s: Seconds after which a run is given up.

    Example:
        >>> SshDevice(host="raspberrypi", user="pi").name
        'ssh:raspberrypi'
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: PathLike | None = None
    python: str = "python3"
    folder: str = "/tmp"
    ssh: str = "ssh"
    options: Sequence[str] = ()
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_name("host", self.host)
        if self.user is not None:
            check_name("user", self.user)
        if self.port is not None and check_int("port", self.port, minimum=1) > 65535:
            raise invalid("`port` must be at most 65535.", port=self.port)
        if not self.folder.startswith("/"):
            raise invalid("`folder` must be an absolute path on the device.", folder=self.folder)
        check_positive("timeout_s", self.timeout_s)

    @classmethod
    def at(cls, address: str, *, identity: PathLike | None = None, python: str = "python3") -> Self:
        """Makes the device from what stands behind "ssh:".

        Args:
            address: "[USER@]HOST[:PORT]".
            identity: As the attribute.
            python: As the attribute.

        Returns:
            The device.

        Raises:
            InvalidArgumentError: If it is no such address.
        """
        return cls(**read_address(address), identity=identity, python=python)

    @property
    def name(self) -> str:
        """What to call the device."""
        return f"ssh:{self.host}"

    def benchmark(self, path: PathLike, runs: Runs) -> BenchmarkResult:
        """Times a file on the device.

        Args:
            path: The file, on this machine.
            runs: How to time it.

        Returns:
            The measured latency.

        Raises:
            CorruptFileError: If the file is damaged, or the runtime there refuses it.
            InvalidArgumentError: If there is no such file.
            DeviceError: If ssh, the device or its runtime is missing, or fails.
        """
        data = read_model_file(path)
        read_flatfile(data, str(path))
        shell = SshShell(self.ssh, self.host, self._words())
        with remote_folder(shell, self.folder) as folder:
            shell.push(data, f"{folder}/model.tflite", self.timeout_s)
            shell.push(_PROGRAM.read_bytes(), f"{folder}/run_litert.py", self.timeout_s)
            counts = map(str, (runs.num_threads, runs.num_runs, runs.num_warmup))
            command = [self.python, "run_litert.py", "model.tflite", *counts]
            answer = run_in(shell, folder, command, self.timeout_s)
        sha256 = hashlib.sha256(data).hexdigest()
        told = read_litert_answer(answer, self.name, self.python)
        if told["sha256"] != sha256:
            raise DeviceError(f"The file arrived damaged on {self.name}. Try again.")
        operators = told["operators"]
        return BenchmarkResult(
            path=str(path),
            sha256=sha256,
            file_bytes=len(data),
            device=self.name,
            machine=Machine(**told["machine"]),
            num_threads=runs.num_threads,
            delegation=None if operators is None else delegation_of(operators),
            init_ms=told["init_ms"],
            warmup_ms=tuple(told["warmup_ms"]),
            runs_ms=tuple(told["runs_ms"]),
            peak_rss_bytes=told["peak_rss_bytes"],
            base_rss_bytes=told["base_rss_bytes"],
            **percentiles(told["runs_ms"]),
        )

    def _words(self) -> list[str]:
        words = ["-l", self.user] if self.user is not None else []
        words += ["-p", str(self.port)] if self.port is not None else []
        if self.identity is not None:
            words += ["-i", str(Path(self.identity).expanduser()), "-o", "IdentitiesOnly=yes"]
        return [*words, *self.options]


register_device_kind("ssh", SshDevice.at)
