"""Android devices through the stock `adb` program: which there are, their shell, their files."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf_metacompress.deploy.devices.remote_shell import (
    Answer,
    call_tool,
    failure,
    last_lines,
    marked,
    read_marked,
)
from tf_metacompress.errors import DeviceError

_GET_ADB = (
    "Install it (Debian and Ubuntu: apt install adb; macOS: brew install android-platform-tools; "
    "else https://developer.android.com/tools/releases/platform-tools), or say where it is: "
    "AndroidDevice(adb=...) or the environment variable ADB."
)
_SDKS = ("ANDROID_HOME", "ANDROID_SDK_ROOT")
_LIST_TIMEOUT_S = 30.0
_READY = "device"
_LISTED = re.compile(
    r"(?P<serial>\S.*?)\s+(?P<state>device|offline|unauthorized|authorizing|connecting|recovery|"
    r"sideload|bootloader|rescue|host|detached|unknown|no permissions|no device)\b(?P<rest>.*)"
)
_WHAT_TO_DO = {
    "unauthorized": "Unlock the device and accept 'Allow USB debugging' on its screen.",
    "authorizing": "Unlock the device and accept 'Allow USB debugging' on its screen.",
    "offline": "Plug it in again or restart it; `adb kill-server` helps at times.",
    "no permissions": (
        "This user may not open the USB device (Debian: apt install android-sdk-platform-tools-"
        "common, and plug it in again)."
    ),
}
_GONE = re.compile(
    r"device '.*' not found|no devices|device offline|\bclosed\b|connection reset|protocol fault|"
    r"device still connecting|EOF|failed to read",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ListedDevice:
    """One line of `adb devices -l`.

    Attributes:
        serial: Serial number or address.
        state: "device" when it is ready, else such as "offline".
        details: Model and more, as adb prints it.
    """

    serial: str
    state: str
    details: str


def find_adb(path: str | None) -> str:
    """Finds the adb program.

    Args:
        path: The program, if the caller names one.

    Returns:
        `path`, else what the environment variable ADB says, else the one on the PATH or in the
        Android SDK.

    Raises:
        DeviceError: If there is none; it says how to get it.
    """
    named = path or os.environ.get("ADB")
    homes = [os.environ[name] for name in _SDKS if os.environ.get(name)]
    places = [named] if named else ["adb", *(f"{home}/platform-tools/adb" for home in homes)]
    for place in places:
        found = shutil.which(place)
        if found:
            return found
    raise DeviceError(f"There is no adb program ({places[0]}). {_GET_ADB}", reason="missing")


def list_devices(adb: str) -> tuple[ListedDevice, ...]:
    """Lists the devices that adb knows.

    Args:
        adb: The adb program.

    Returns:
        One entry a device, ready or not.

    Raises:
        DeviceError: If adb fails.
    """
    done = call_tool([adb, "devices", "-l"], _LIST_TIMEOUT_S, _GET_ADB)
    if done.returncode:
        raise failure("`adb devices` failed", _said(done.stdout + done.stderr))
    _, _, table = _said(done.stdout).partition("List of devices attached")
    rows = (_LISTED.fullmatch(line.strip()) for line in table.splitlines())
    return tuple(ListedDevice(r["serial"], r["state"], r["rest"].strip()) for r in rows if r)


def choose_device(devices: Sequence[ListedDevice], serial: str | None) -> str:
    """Chooses the device to run on.

    Args:
        devices: What adb knows.
        serial: The one asked for; None takes the only one that is ready.

    Returns:
        The serial number of a device that is ready.

    Raises:
        DeviceError: If there is none, it is not ready, or there are several to choose from.
    """
    listed = "; ".join(f"{d.serial} ({d.state}) {d.details}".strip() for d in devices)
    matching = [device for device in devices if serial in (None, device.serial)]
    ready = [device for device in matching if device.state == _READY]
    if len(ready) == 1:
        return ready[0].serial
    if ready:
        raise DeviceError(
            f"Several Android devices are ready: {listed}. Name one: device='android:SERIAL'.",
            reason="refused",
        )
    if matching:
        states = {device.state for device in matching}
        what = " ".join(_WHAT_TO_DO.get(state, "") for state in sorted(states)).strip()
        raise DeviceError(f"No Android device is ready: {listed}. {what}".strip(), reason="refused")
    asked = f" with serial {serial!r}" if serial else ""
    raise DeviceError(
        f"adb knows no device{asked}. It lists: {listed or 'none'}. Plug the device in, switch on "
        "USB debugging in its developer options, and look with `adb devices -l`.",
        reason="missing",
    )


@dataclass(frozen=True)
class AdbShell:
    """Shell and files of one Android device.

    Attributes:
        adb: The adb program.
        serial: The device.
    """

    adb: str
    serial: str

    @property
    def name(self) -> str:
        """What to call the device."""
        return f"android:{self.serial}"

    def run(self, script: str, timeout_s: float) -> Answer:
        """Runs a script; see `RemoteShell.run`."""
        done = self._call(["shell", marked(script)], timeout_s)
        answer = read_marked(done.stdout)
        if answer is None:
            raise self._problem("A command did not end", _said(done.stderr + done.stdout))
        return answer

    def push(self, data: bytes, path: str, timeout_s: float) -> None:
        """Writes a file; see `RemoteShell.push`."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "file")
            local.write_bytes(data)
            done = self._call(["push", str(local), path], timeout_s)
        if done.returncode:
            raise self._problem(f"Cannot write {path}", _said(done.stderr + done.stdout))

    def pull(self, path: str, timeout_s: float) -> bytes:
        """Reads a file.

        Args:
            path: The file there.
            timeout_s: Seconds after which it is given up.

        Returns:
            What is in it; nothing when there is no such file.

        Raises:
            DeviceError: If the device went away.
        """
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "file")
            done = self._call(["pull", path, str(local)], timeout_s)
            if not done.returncode:
                return local.read_bytes()
        said = _said(done.stderr + done.stdout)
        if "does not exist" in said or "No such file" in said:
            return b""
        raise self._problem(f"Cannot read {path}", said)

    def _call(self, words: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        return call_tool([self.adb, "-s", self.serial, *words], timeout_s, _GET_ADB)

    def _problem(self, what: str, said: str) -> DeviceError:
        for state, advice in _WHAT_TO_DO.items():
            if f"device {state}" in said and state != "offline":
                return DeviceError(f"{self.name} is {state}. {advice}", reason="refused")
        if not said.strip() or _GONE.search(said):
            return DeviceError(
                f"{self.name} went away. {what}: {last_lines(said)}. {_WHAT_TO_DO['offline']}",
                reason="gone",
            )
        return failure(f"{what} on {self.name}", said)


def _said(output: bytes) -> str:
    return output.decode("utf-8", "replace")
