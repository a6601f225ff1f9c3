"""Measuring over ssh: the stock client against a real sshd on loopback."""

import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.devices.processes import is_running
from tests.deploy.devices.tiny_file import tiny_file
from tf_metacompress.cli import main
from tf_metacompress.deploy import benchmark
from tf_metacompress.deploy.devices import SshDevice
from tf_metacompress.deploy.devices import run_litert as program
from tf_metacompress.deploy.devices.litert_answer import read_litert_answer
from tf_metacompress.deploy.devices.remote_shell import Answer
from tf_metacompress.deploy.devices.ssh_shell import read_address
from tf_metacompress.deploy.machine import this_machine
from tf_metacompress.errors import CorruptFileError, DeviceError, InvalidArgumentError

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
TOOLS = bool(SSHD and shutil.which("ssh") and shutil.which("ssh-keygen"))
needs_ssh = pytest.mark.skipif(not TOOLS, reason="needs ssh and sshd: apt install openssh-server")
on_sshd = [pytest.mark.slow, needs_ssh]
QUOTE = shlex.quote
PROGRAM = Path(program.__file__)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """Settings of a device that is this machine, behind an sshd of our own."""
    folder = tmp_path_factory.mktemp("sshd")
    port = free_port()
    for key in ("host", "user", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public}\n")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nUsePAM no\n"
        "KbdInteractiveAuthentication no\nStrictModes no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("w")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    deadline = time.monotonic() + 10
    while "listening" not in (folder / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, (folder / "log").read_text()
    known = f"UserKnownHostsFile={folder / 'known'}"
    yield {
        "host": "127.0.0.1",
        "user": getpass.getuser(),
        "port": port,
        "identity": folder / "user",
        "options": ("-F", "none", "-o", known),
        "python": sys.executable,
        "timeout_s": 60,
    }
    process.terminate()
    process.wait()
    log.close()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(tiny_file())
    return file


@pytest.fixture
def base(tmp_path):
    """Where the device puts its files: a name that would break an unquoted command."""
    folder = tmp_path / "a b;touch evil $(touch evil) 'ü"
    folder.mkdir()
    return folder


class TestOnSshd:
    """With the real client and server."""

    pytestmark = on_sshd

    def test_everything_that_is_told(self, sshd, path, base):
        device = SshDevice(**sshd, folder=str(base))
        result = benchmark(path, device=device, num_runs=11, num_warmup=2, num_threads=2)
        assert (len(result.runs_ms), len(result.warmup_ms)) == (11, 2)
        assert result.p50_ms == sorted(result.runs_ms)[5]
        assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p95_ms
        assert (result.device, result.num_threads) == ("ssh:127.0.0.1", 2)
        here = this_machine()
        assert (result.machine.litert, result.machine.python) == (here.litert, here.python)
        assert (result.machine.architecture, result.machine.system) == (
            here.architecture,
            here.system,
        )
        assert result.delegation == benchmark(path, num_runs=1).delegation
        assert 5e6 < result.base_rss_bytes <= result.peak_rss_bytes < 4e9
        assert result.init_ms > 0
        assert "ssh:127.0.0.1" in str(result)
        assert list(base.iterdir()) == []

    def test_names_reach_no_shell(self, sshd, base, monkeypatch):
        name = "-o x $(touch evil) `touch evil` ;touch evil #'\" ü.tflite"
        (base / name).write_bytes(tiny_file())
        monkeypatch.chdir(base)
        result = benchmark(name, device=SshDevice(**sshd), num_runs=1)
        assert result.path == name
        assert [file.name for file in base.iterdir()] == [name]

    def test_a_python_that_is_none(self, sshd, path, base):
        for python, message in (
            ("python-none", "There is no python-none on"),
            ("x; touch evil", "There is no x; touch evil on"),
        ):
            device = SshDevice(**{**sshd, "python": python}, folder=str(base))
            with pytest.raises(DeviceError, match=message) as caught:
                benchmark(path, device=device)
            assert caught.value.reason == "missing"
        assert list(base.iterdir()) == []

    def _python(self, tmp_path, script):
        file = tmp_path / "python"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return str(file)

    def test_a_python_without_the_runtime(self, sshd, path, tmp_path):
        python = self._python(tmp_path, f'exec {sys.executable} -S -E "$@"')
        with pytest.raises(DeviceError, match="python -m pip install ai-edge-litert") as caught:
            benchmark(path, device=SshDevice(**{**sshd, "python": python}))
        assert caught.value.reason == "missing"

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("kill -4 $$", "SIGILL.*ARMv8.0"),
            ("kill -9 $$", "want of memory"),
            ("echo what; exit 9", "exit code 9.*what"),
            ("echo hello", "makes no sense: hello"),
        ],
    )
    def test_a_program_that_fails(self, sshd, path, tmp_path, base, script, message):
        python = self._python(tmp_path, script)
        with pytest.raises(DeviceError, match=message):
            benchmark(path, device=SshDevice(**{**sshd, "python": python}, folder=str(base)))
        assert list(base.iterdir()) == []

    def test_a_run_that_never_ends_is_killed_on_the_device(self, sshd, path, tmp_path, base):
        note = tmp_path / "pid"
        python = self._python(tmp_path, f"echo $$ > '{note}'; exec sleep 60")
        device = SshDevice(**{**sshd, "python": python, "timeout_s": 2}, folder=str(base))
        with pytest.raises(DeviceError, match="within 2 s") as caught:
            benchmark(path, device=device)
        assert caught.value.reason == "timeout"
        assert not is_running(int(note.read_text()))
        assert list(base.iterdir()) == []

    def test_a_device_that_goes_away(self, sshd, path, tmp_path, base):
        python = self._python(tmp_path, "kill -9 $(ps -o ppid= -p $(ps -o ppid= -p $PPID))")
        with pytest.raises(DeviceError, match="127.0.0.1 went away") as caught:
            benchmark(path, device=SshDevice(**{**sshd, "python": python}, folder=str(base)))
        assert caught.value.reason == "gone"

    @pytest.mark.parametrize(
        ("setting", "message", "reason"),
        [
            ({"identity": "other"}, "ssh-copy-id", "refused"),
            (
                {"options": ("-F", "none", "-o", "UserKnownHostsFile=/dev/null")},
                "by hand",
                "refused",
            ),
            ({"port": 1}, "does its sshd listen", "missing"),
            ({"host": "no-such-host.invalid"}, "Check the name", "missing"),
            ({"ssh": "no-such-ssh"}, "apt install openssh-client", "missing"),
        ],
    )
    def test_a_device_that_cannot_be_reached(self, sshd, path, setting, message, reason):
        if "identity" in setting:
            setting = {"identity": sshd["identity"].with_name("other")}
        with pytest.raises(DeviceError, match=message) as caught:
            benchmark(path, device=SshDevice(**{**sshd, **setting}))
        assert caught.value.reason == reason

    def test_a_folder_that_is_none_or_full(self, sshd, path, tmp_path):
        with pytest.raises(DeviceError, match="Cannot make a folder in /no/such"):
            benchmark(path, device=SshDevice(**sshd, folder="/no/such"))

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_device(self, sshd, path, monkeypatch):
        monkeypatch.setattr("tf_metacompress.deploy.devices.ssh_shell.shlex.quote", full_disk)
        with pytest.raises(DeviceError, match="storage is full") as caught:
            benchmark(path, device=SshDevice(**sshd))
        assert caught.value.reason == "full"

    def test_a_file_that_arrives_damaged(self, sshd, path, tmp_path):
        python = self._python(tmp_path, f'printf x >> model.tflite\nexec {sys.executable} "$@"')
        with pytest.raises(DeviceError, match="arrived damaged"):
            benchmark(path, device=SshDevice(**{**sshd, "python": python}))

    def test_a_file_that_the_runtime_refuses(self, sshd, path):
        path.write_bytes(tiny_file(op_version=99))
        with pytest.raises(CorruptFileError, match="runtime on ssh:127.0.0.1 refuses.*RELU"):
            benchmark(path, device=SshDevice(**sshd))

    def test_the_command_line(self, sshd, path, tmp_path, capsys, monkeypatch):
        config = tmp_path / ".ssh-wrapper"
        config.mkdir()
        words = " ".join(f"'{word}'" for word in sshd["options"])
        (config / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {words} "$@"\n')
        (config / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{config}:{os.environ['PATH']}")
        address = f"--device=ssh:{sshd['user']}@127.0.0.1:{sshd['port']}"
        words = ["benchmark", str(path), address, f"--identity={sshd['identity']}", "--num-runs=4"]
        assert main([*words, f"--python={sys.executable}", "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["device"], len(printed["runs_ms"])) == ("ssh:127.0.0.1", 4)
        assert main([*words, "--python=none-such"]) == 1
        assert "There is no none-such" in capsys.readouterr().err


def full_disk(word):
    return "/dev/full" if word.endswith("model.tflite") else QUOTE(word)


def run_program(path, *words, **settings):
    command = [sys.executable, *settings.get("flags", ()), str(PROGRAM), str(path), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)
    return Answer(done.returncode, done.stdout + done.stderr)


def test_the_program_stands_alone(path):
    bytearray(b"x") * 400_000_000  # The peak that getrusage would tell of a child too.
    answer = run_program(path, "1", "5", "2", flags=["-E", "-P"])
    told = read_litert_answer(answer, "here", "python3")
    assert (len(told["runs_ms"]), len(told["warmup_ms"])) == (5, 2)
    assert 5e6 < told["base_rss_bytes"] <= told["peak_rss_bytes"] < 4e8
    assert [op["op_name"] for op in told["operators"]] == ["RELU", "DELEGATE"]
    source = PROGRAM.read_text()
    assert "import tf_metacompress" not in source
    assert "from tf_metacompress" not in source


def test_times_are_milliseconds():
    class Slow:
        def invoke(self):
            time.sleep(0.005)

    times = program.time_runs(Slow(), 3)
    assert len(times) == 3
    assert all(5 <= value < 500 for value in times)


def test_the_program_tells_of_a_file_that_the_runtime_refuses(path):
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(CorruptFileError, match="refuses the file"):
        read_litert_answer(run_program(path, "1", "5", "2"), "here", "python3")


def good_answer():
    return {
        "machine": this_machine().to_dict() | {"schema_version": None},
        "init_ms": 1.0,
        "warmup_ms": [2.0],
        "runs_ms": [1.0, 2.0],
        "peak_rss_bytes": 100,
        "base_rss_bytes": 60,
        "operators": [{"op_name": "RELU", "inputs": [0], "outputs": [1]}],
        "sha256": "ab",
    }


BAD = {
    "runs_ms": [[], None, [float("nan")], ["1"], [-1.0], [float("inf")], [10**400], 3],
    "init_ms": [None, "1", [1]],
    "machine": [None, {}, {"cpu": "x"}, []],
    "operators": [3, [3], [{"op_name": "x"}], [{"op_name": "x", "inputs": ["a"], "outputs": []}]],
    "peak_rss_bytes": [None, "x"],
    "base_rss_bytes": [None, -1],
    "sha256": [None, 3],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in BAD.items() for v in values])
def test_answers_that_make_no_sense(key, value):
    told = good_answer()
    del told["machine"]["schema_version"]
    line = program.MARK + json.dumps(told)
    assert read_litert_answer(Answer(0, f"noise\n{line}\nmore"), "d", "p")["sha256"] == "ab"
    line = program.MARK + json.dumps({**told, key: value})
    with pytest.raises(DeviceError, match="makes no sense"):
        read_litert_answer(Answer(0, line), "d", "p")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.text(max_size=80) | JSON.map(json.dumps), st.integers(0, 255))
def test_any_answer_is_read_or_refused(text, code):
    with pytest.raises((DeviceError, CorruptFileError)):
        read_litert_answer(Answer(code, program.MARK + text), "d", "p")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("pi", ("pi", None, None)),
        ("me@pi:2222", ("pi", "me", 2222)),
        ("[::1]:22", ("::1", None, 22)),
        ("fe80::1", ("fe80::1", None, None)),
    ],
)
def test_addresses(address, expected):
    told = read_address(address)
    assert (told["host"], told["user"], told["port"]) == expected


@pytest.mark.parametrize("address", ["", "-oProxyCommand=reboot", "a b", "me@", "pi:port", "-l@pi"])
def test_addresses_that_are_none(path, address):
    with pytest.raises(InvalidArgumentError):
        benchmark(path, device=f"ssh:{address}")


@settings(max_examples=25)
@given(st.text(max_size=20))
def test_no_host_looks_like_an_option(address):
    try:
        told = read_address(address)
    except InvalidArgumentError:
        return
    assert told["host"]
    assert not told["host"].startswith("-")
    assert not (told["user"] or "").startswith("-")


@pytest.mark.parametrize(
    "setting",
    [
        {"host": "-x"},
        {"host": ""},
        {"user": "a b"},
        {"port": 0},
        {"port": 70000},
        {"folder": "tmp"},
        {"timeout_s": -1},
    ],
)
def test_settings_are_checked(setting):
    with pytest.raises(InvalidArgumentError, match=next(iter(setting))):
        SshDevice(**{"host": "pi", **setting})
