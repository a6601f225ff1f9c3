"""An adb server on loopback, with devices whose shell and files are a folder of this machine.

It speaks the protocol between the adb client and its server (SERVICES.TXT, SYNC.TXT and the shell
protocol of AOSP's packages/modules/adb), as much of it as `adb devices | shell | push | pull` use.
"""

import os
import socketserver
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MAPPED = ("/data/local/tmp", "/sys/devices/system/cpu")
PROPERTIES = {
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8; reboot",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor G3",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
}


def make_device(folder, properties=PROPERTIES, khz=(1700000,) * 4 + (2300000,) * 4):
    """Lays out what the shell of a device finds: files, properties, cores, taskset."""
    (folder / "data/local/tmp").mkdir(parents=True)
    (folder / "bin").mkdir()
    for core, top in enumerate(khz):
        freq = folder / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        freq.mkdir(parents=True)
        (freq / "cpuinfo_max_freq").write_text(f"{top}\n")
    cases = "\n".join(f"{name}) echo '{value}' ;;" for name, value in properties.items())
    for name, script in {
        "getprop": f'case "$1" in\n{cases}\n*) echo ;;\nesac',
        "taskset": f'echo "$1" >> {folder}/taskset.log\nshift\nexec "$@"',
    }.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def make_tool(printed, result_file=b"", profile="", ending="pass"):
    """A `benchmark_model` that prints canned output, and notes how it was called."""
    return f"""#!{sys.executable}
import json, os, sys, time
flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
with open(os.path.join(os.environ["SANDBOX"], "calls.jsonl"), "a") as file:
    file.write(json.dumps(flags) + "\\n")
with open(flags["graph"], "rb") as file:
    assert file.read(8)[4:] == b"TFL3"
print({printed!r}, file=sys.stderr, flush=True)
if {result_file!r} and "result_file_path" in flags:
    with open(flags["result_file_path"], "wb") as file:
        file.write({result_file!r})
if {profile!r} and "op_profiling_output_file" in flags:
    with open(flags["op_profiling_output_file"], "w") as file:
        file.write({profile!r})
{ending}
""".encode()


@dataclass
class Server:
    """What the server offers and how it fails.

    Attributes:
        devices: Folder by serial number.
        states: State by serial number, "device" if not named.
        features: What the devices say they can; without "shell_v2" there are no exit codes.
        gone_at: Part of a command at which the device is unplugged.
        full: Whether no file can be written.
        commands: All shell commands, as they arrived.
    """

    devices: dict[str, Path]
    states: dict[str, str] = field(default_factory=dict)
    features: str = "shell_v2,cmd"
    gone_at: str = ""
    full: bool = False
    commands: list[str] = field(default_factory=list)

    def __enter__(self):
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with suppress(ConnectionError, EOFError):
                    Client(owner, self.request).serve()

        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._tcp.daemon_threads = True
        threading.Thread(target=self._tcp.serve_forever, args=(0.02,), daemon=True).start()
        self.socket = f"tcp:127.0.0.1:{self._tcp.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._tcp.shutdown()
        self._tcp.server_close()

    def listed(self):
        rows = []
        for serial in self.devices:
            state = self.states.get(serial, "device")
            rows.append(f"{serial:<22} {state} product:shiba model:Pixel_8 transport_id:1\n")
        return "".join(rows)

    def refusal(self, serial):
        if serial not in self.devices:
            return f"device '{serial}' not found"
        state = self.states.get(serial, "device")
        if state == "unauthorized":
            return "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set"
        return "" if state == "device" else f"device {state}"


class Client:
    """One connection of an adb client."""

    def __init__(self, server, connection):
        self.server, self.connection, self.folder = server, connection, None

    def take(self, count):
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def okay(self, text=None):
        self.connection.sendall(b"OKAY" + (b"" if text is None else self._hexed(text)))

    def fail(self, text):
        self.connection.sendall(b"FAIL" + self._hexed(text))

    @staticmethod
    def _hexed(text):
        return b"%04x" % len(text.encode()) + text.encode()

    def serve(self):
        while True:
            request = self.take(int(self.take(4), 16)).decode()
            if not self.answer(request):
                return

    def answer(self, request):
        """Answers one request; whether the connection goes on."""
        service, _, rest = request.partition(":")
        if service.startswith("host"):
            return self.host(request)
        if service.startswith("shell"):
            self.shell(rest, v2=service.startswith("shell,v2"))
        elif service == "sync":
            self.okay()
            if self.server.gone_at == "sync":
                self.server.devices.clear()
                return False
            self.sync()
        else:
            self.fail(f"unknown service {request}")
        return False

    def host(self, request):
        last = request.rpartition(":")[2]
        serial = request.split(":", 1)[1].removeprefix("tport:").removeprefix("serial:")
        serial = serial.removeprefix("transport:").removesuffix(":features")
        if last == "version":
            self.okay("0029")
        elif last == "devices-l":
            self.okay(self.server.listed())
        elif self.server.refusal(serial):
            self.fail(self.server.refusal(serial))
        elif last == "features":
            self.okay(self.server.features)
        else:
            self.folder = self.server.devices[serial]
            self.okay()
            if ":tport:" in request:
                self.connection.sendall(struct.pack("<Q", 1))
            return True
        return False

    def here(self, text):
        for path in MAPPED:
            text = text.replace(path, f"{self.folder}{path}")
        return text

    def shell(self, command, v2):
        self.server.commands.append(command)
        self.okay()
        environment = {
            **os.environ,
            "SANDBOX": str(self.folder),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
        }
        if self.server.gone_at and self.server.gone_at in command:
            self.server.devices.clear()
            return
        done = subprocess.run(
            ["/bin/sh", "-c", self.here(command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
        )
        if not v2:
            self.connection.sendall((done.stdout + done.stderr).replace(b"\n", b"\r\n"))
            return
        for kind, data in ((1, done.stdout), (2, done.stderr), (3, bytes([done.returncode & 255]))):
            if data:
                self.connection.sendall(struct.pack("<BI", kind, len(data)) + data)

    def sync(self):
        while True:
            kind, size = struct.unpack("<4sI", self.take(8))
            if kind == b"QUIT":
                return
            path = self.take(size).decode()
            if kind == b"STAT":
                self.stat(Path(self.here(path)))
            elif kind == b"SEND":
                self.receive(Path(self.here(path.rpartition(",")[0])))
            elif kind == b"RECV":
                self.send(Path(self.here(path)))

    def stat(self, path):
        found = path.stat() if path.exists() else None
        values = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
        self.connection.sendall(b"STAT" + struct.pack("<III", *values))

    def receive(self, path):
        data = b""
        while True:
            kind, size = struct.unpack("<4sI", self.take(8))
            if kind == b"DONE":
                break
            data += self.take(size)
        if self.server.full:
            self._sync_fail("couldn't write: No space left on device")
            return
        path.write_bytes(data)
        self.connection.sendall(b"OKAY" + struct.pack("<I", 0))

    def send(self, path):
        if not path.exists():
            self._sync_fail("No such file or directory")
            return
        data = path.read_bytes()
        for start in range(0, len(data), 65536):
            part = data[start : start + 65536]
            self.connection.sendall(b"DATA" + struct.pack("<I", len(part)) + part)
        self.connection.sendall(b"DONE" + struct.pack("<I", 0))

    def _sync_fail(self, text):
        self.connection.sendall(b"FAIL" + struct.pack("<I", len(text)) + text.encode())
        time.sleep(0.05)
