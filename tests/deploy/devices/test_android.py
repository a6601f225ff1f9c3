"""Measuring on Android: the stock adb client against a server on loopback."""

import json
import shutil
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.devices import canned
from tests.deploy.devices.adb_server import PROPERTIES, Server, make_device, make_tool
from tests.deploy.devices.processes import is_running
from tests.deploy.devices.tiny_file import tiny_file
from tf_metacompress.cli import main
from tf_metacompress.deploy import Runs, benchmark
from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.devices import AndroidDevice
from tf_metacompress.deploy.devices.adb import choose_device, find_adb, list_devices
from tf_metacompress.deploy.devices.benchmark_tool import read_benchmark_model
from tf_metacompress.deploy.devices.phone import big_cores, read_phone
from tf_metacompress.deploy.devices.remote_shell import marked, quoted, read_marked
from tf_metacompress.errors import CorruptFileError, DeviceError, InvalidArgumentError

needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="needs adb: apt install adb")
on_adb = [pytest.mark.slow, needs_adb]
NASTY = "a b; touch $(whoami) `id` 'q\" \u00fc\u4e2d --x.tflite"


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """Starts a server with the devices of given names."""
    servers = []

    def start(*serials, properties=PROPERTIES, **settings):
        for serial in serials:
            make_device(tmp_path / serial, properties)
        server = Server({serial: tmp_path / serial for serial in serials}, **settings)
        servers.append(server.__enter__())
        monkeypatch.setenv("ADB_SERVER_SOCKET", server.socket)
        return server

    monkeypatch.delenv("ADB", raising=False)
    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(tiny_file())
    return file


def tool(tmp_path, *arguments, **settings):
    file = tmp_path / "benchmark_model"
    file.write_bytes(make_tool(*arguments, **settings))
    return file


def left_on(device):
    return list((device / "data/local/tmp").iterdir())


class TestOnAdb:
    """With the real client."""

    pytestmark = on_adb

    def test_everything_that_is_told(self, adb, path, tmp_path):
        adb("R58M")
        program = tool(tmp_path, canned.TFLITE_OLD, canned.RESULT_FILE, canned.CSV)
        device = AndroidDevice(benchmark_model=program, timeout_s=30)
        result = benchmark(path, device=device, num_runs=40, num_warmup=3, num_threads=2)
        assert (result.p50_ms, result.p90_ms, result.p95_ms) == (14.25, None, 15.5)
        assert (result.min_ms, result.init_ms, result.runs_ms) == (14.0, 5.5, ())
        assert (result.reported.num_runs, result.reported.std_ms) == (50, 0.25)
        assert result.peak_rss_bytes == 12.5 * 2**20
        assert [op.op for op in result.ops][1:] == ["TfLiteXNNPackDelegate", "RESIZE_BILINEAR"]
        assert result.delegation == Delegation(partitions=2, ops_outside=("RESIZE_BILINEAR",))
        machine = result.machine
        assert (result.device, machine.architecture, machine.cores) == (
            "android:R58M",
            "arm64-v8a",
            4,
        )
        assert machine.cpu == "Google Pixel 8; reboot, Google Tensor G3"
        assert (machine.system, machine.python) == ("Android 14 (API 34)", None)
        assert machine.litert.startswith("benchmark_model ")
        calls = (tmp_path / "R58M/calls.jsonl").read_text().splitlines()
        first, profiled = map(json.loads, calls)
        asked = ("num_runs", "warmup_runs", "num_threads", "min_secs", "warmup_min_secs")
        assert [first[name] for name in asked] == ["40", "3", "2", "0", "0"]
        assert "enable_op_profiling" not in first
        assert (profiled["enable_op_profiling"], profiled["num_runs"]) == ("true", "10")
        assert (tmp_path / "R58M/taskset.log").read_text() == "f0\nf0\n"
        assert left_on(tmp_path / "R58M") == []
        told = str(result)
        assert "p90" not in told
        assert "50 runs, summary of the tool" in told
        assert "cores f0" in told
        assert json.loads(result.to_json())["reported"]["p50_ms"] == 14.25

    @pytest.mark.parametrize(
        ("printed", "mean_ms", "p50_ms"),
        [(canned.LITERT, 85.23, None), (canned.TFLITE_NEW, 14.5752, 14.56)],
    )
    @pytest.mark.parametrize("features", ["shell_v2,cmd", "cmd"])
    def test_both_dialects_old_and_new_devices(
        self, adb, path, tmp_path, printed, mean_ms, p50_ms, features
    ):
        adb("one", features=features)
        program = tool(tmp_path, printed)
        device = AndroidDevice(benchmark_model=program, cores=None, profile=False, timeout_s=30)
        result = benchmark(path, device=device)
        assert result.reported.mean_ms == pytest.approx(mean_ms)
        assert result.p50_ms == (None if p50_ms is None else pytest.approx(p50_ms))
        assert result.cpu_mask is None
        assert "mean" in str(result)
        assert not (tmp_path / "one/taskset.log").exists()

    def test_names_reach_no_shell(self, adb, tmp_path, monkeypatch):
        server = adb("one")
        folder = tmp_path / "mit Leerzeichen $(id) ü"
        folder.mkdir()
        (folder / NASTY).write_bytes(tiny_file())
        program = tool(folder, canned.TFLITE_NEW)
        monkeypatch.chdir(folder)
        result = benchmark(NASTY, device=AndroidDevice(benchmark_model=program.name, profile=False))
        assert result.path == NASTY
        assert not any("whoami" in command or "Leer" in command for command in server.commands)

    def test_the_signature_of_several_is_named_and_quoted(self, adb, path, tmp_path):
        adb("one")
        device = AndroidDevice(benchmark_model=tool(tmp_path, canned.TFLITE_NEW))
        name = "a'; touch evil; echo '$(touch evil)ü"
        path.write_bytes(tiny_file(name, "other"))
        benchmark(path, device=device)
        calls = (tmp_path / "one/calls.jsonl").read_text().splitlines()
        assert [json.loads(call)["signature_to_run_for"] for call in calls] == [name, name]
        assert not list(tmp_path.rglob("evil"))
        path.write_bytes(tiny_file("only"))
        benchmark(path, device=device)
        assert (
            "signature_to_run_for" not in (tmp_path / "one/calls.jsonl").read_text().split("\n")[2]
        )

    def test_a_serial_number_reaches_no_shell(self, adb, path, tmp_path):
        server = adb("one")
        with pytest.raises(DeviceError, match="no device with serial"):
            benchmark(path, device="android:one; reboot")
        assert server.commands == []

    def test_several_devices_need_a_serial_number(self, adb, path, tmp_path):
        adb("one", "two", "three", states={"three": "offline"})
        program = tool(tmp_path, canned.TFLITE_NEW)
        with pytest.raises(DeviceError, match="Several.*one .device.*two .device") as caught:
            benchmark(path, device=AndroidDevice(benchmark_model=program))
        assert caught.value.reason == "refused"
        chosen = AndroidDevice(serial="two", benchmark_model=program, profile=False)
        assert benchmark(path, device=chosen).device == "android:two"
        with pytest.raises(DeviceError, match="offline.*Plug it in again"):
            benchmark(path, device="android:three")

    @pytest.mark.parametrize(
        ("states", "message", "reason"),
        [
            ({"one": "unauthorized"}, "accept 'Allow USB debugging'", "refused"),
            ({"one": "offline"}, "one .offline.*Plug it in", "refused"),
            ({"one": "no permissions (user in plugdev group)"}, "may not open", "refused"),
            (None, "Plug the device in", "missing"),
        ],
    )
    def test_no_device_that_is_ready(self, adb, path, states, message, reason):
        adb(*(states or ()), states=states or {})
        with pytest.raises(DeviceError, match=message) as caught:
            benchmark(path, device="android")
        assert caught.value.reason == reason

    @pytest.mark.parametrize("features", ["shell_v2,cmd", "cmd"])
    @pytest.mark.parametrize("moment", ["getprop", "mkdir", "sync", "--graph"])
    def test_a_device_that_goes_away(self, adb, path, tmp_path, moment, features):
        adb("one", gone_at=moment, features=features)
        program = tool(tmp_path, canned.TFLITE_NEW)
        with pytest.raises(DeviceError, match="one went away") as caught:
            benchmark(path, device=AndroidDevice(benchmark_model=program, timeout_s=20))
        assert caught.value.reason == "gone"
        left = "".join(getattr(caught.value, "__notes__", ()))
        assert ("was left on android:one" in left) == (moment in ("sync", "--graph"))

    def test_a_device_that_goes_away_after_the_runs_keeps_the_figure(self, adb, path, tmp_path):
        adb("one", gone_at="op_profiling")
        device = AndroidDevice(benchmark_model=tool(tmp_path, canned.TFLITE_NEW), timeout_s=20)
        left = pytest.warns(UserWarning, match="was left on android:one")
        with left, pytest.warns(UserWarning, match="no profile"):
            result = benchmark(path, device=device)
        assert (result.reported.num_runs, result.ops) == (50, ())

    def test_a_full_device(self, adb, path, tmp_path):
        adb("one", full=True)
        with pytest.raises(DeviceError, match="storage is full") as caught:
            benchmark(path, device=AndroidDevice(benchmark_model=tool(tmp_path, "")))
        assert caught.value.reason == "full"
        assert left_on(tmp_path / "one") == []

    def test_a_run_that_never_ends_is_killed_on_the_device(self, adb, path, tmp_path):
        adb("one")
        note = tmp_path / "pid"
        ending = f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
        program = tool(tmp_path, "", ending=ending)
        begin = time.monotonic()
        with pytest.raises(DeviceError, match="within 2 s") as caught:
            benchmark(path, device=AndroidDevice(benchmark_model=program, timeout_s=2))
        assert caught.value.reason == "timeout"
        assert time.monotonic() - begin < 30
        time.sleep(0.3)
        assert not is_running(int(note.read_text()))
        assert left_on(tmp_path / "one") == []

    @pytest.mark.parametrize(
        ("printed", "ending", "message"),
        [
            ("ERROR: no such op\nBenchmarking failed.", "sys.exit(1)", "exit code 1.*no such op"),
            ("", "os.kill(os.getpid(), 4)", "SIGILL"),
            ("", "os.kill(os.getpid(), 9)", "want of memory"),
            ("hello", "pass", "no timed run.*hello"),
        ],
    )
    def test_a_tool_that_fails(self, adb, path, tmp_path, printed, ending, message):
        adb("one")
        program = tool(tmp_path, printed, ending=ending)
        with pytest.raises(DeviceError, match=message):
            benchmark(path, device=AndroidDevice(benchmark_model=program))
        assert left_on(tmp_path / "one") == []

    def test_a_program_that_cannot_be_executed(self, adb, path, tmp_path):
        adb("one")
        program = tmp_path / "benchmark_model"
        program.write_bytes(b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little") + bytes(40))
        with pytest.raises(DeviceError, match="cannot execute benchmark_model"):
            benchmark(path, device=AndroidDevice(benchmark_model=program, cores=None))

    def test_an_emulator_is_called_one(self, adb, path, tmp_path):
        adb("emulator-5554", properties={**PROPERTIES, "ro.boot.qemu": "1"})
        device = AndroidDevice(benchmark_model=tool(tmp_path, canned.TFLITE_NEW), profile=False)
        assert benchmark(path, device=device).device == "android-emulator:emulator-5554"

    def test_a_damaged_file_reaches_no_device(self, adb, path):
        server = adb("one")
        path.write_bytes(path.read_bytes()[:150])
        with pytest.raises(CorruptFileError):
            benchmark(path, device="android")
        assert server.commands == []

    def test_the_command_line(self, adb, path, tmp_path, capsys):
        adb("one", "two")
        words = ["benchmark", str(path), f"--benchmark-model={tool(tmp_path, canned.TFLITE_NEW)}"]
        assert main([*words, "--device=android:two", "--json", "--num-runs=7"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["device"], printed["reported"]["num_runs"]) == ("android:two", 50)
        assert main([*words, "--device=android"]) == 1
        assert "Several Android devices" in capsys.readouterr().err


def test_without_adb_the_message_says_how_to_get_it(path, monkeypatch):
    for name in ("ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="apt install adb") as caught:
        benchmark(path, device="android")
    assert caught.value.reason == "missing"


def test_where_adb_is_looked_for(tmp_path, monkeypatch):
    for place in ("named", "variable", "sdk/platform-tools/adb"):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert find_adb(None) == str(tmp_path / "sdk/platform-tools/adb")
    monkeypatch.setenv("ADB", str(tmp_path / "variable"))
    assert find_adb(None) == str(tmp_path / "variable")
    assert find_adb(str(tmp_path / "named")) == str(tmp_path / "named")
    with pytest.raises(DeviceError, match="none-such"):
        find_adb("none-such")


def test_an_adb_that_fails_or_says_nonsense(tmp_path):
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\necho 'List of devices attached'; echo '?? what'; echo\n")
    program.chmod(0o755)
    assert list_devices(str(program)) == ()
    program.write_text("#!/bin/sh\necho 'cannot connect to daemon' >&2; exit 1\n")
    with pytest.raises(DeviceError, match="cannot connect to daemon"):
        list_devices(str(program))
    with pytest.raises(DeviceError, match="apt install adb"):
        list_devices(str(tmp_path / "none"))


def test_the_only_ready_device_is_taken_among_others(tmp_path):
    program = tmp_path / "adb"
    rows = "a offline\\nb\\tdevice product:x\\n192.168.1.7:5555 unauthorized transport_id:3"
    program.write_text(f"#!/bin/sh\nprintf 'List of devices attached\\n{rows}\\n'\n")
    program.chmod(0o755)
    devices = list_devices(str(program))
    assert [(d.serial, d.state) for d in devices] == [
        ("a", "offline"),
        ("b", "device"),
        ("192.168.1.7:5555", "unauthorized"),
    ]
    assert choose_device(devices, None) == "b"


def elf(machine):
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little")


def test_where_benchmark_model_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache dir"))
    monkeypatch.delenv("TF_METACOMPRESS_BENCHMARK_MODEL", raising=False)
    with pytest.raises(
        DeviceError, match=r"curl .*cache dir/tf_metacompress/benchmark_model_arm64"
    ):
        read_benchmark_model(None, "arm64-v8a")
    with pytest.raises(DeviceError, match="how to build it"):
        read_benchmark_model(None, "riscv64")
    cache = tmp_path / "cache dir/tf_metacompress"
    (cache / "android_arm64").mkdir(parents=True)
    (cache / "android_arm64/benchmark_model").write_bytes(elf(183) + b"cached")
    assert read_benchmark_model(None, "arm64-v8a").endswith(b"cached")
    (tmp_path / "own").write_bytes(elf(40))
    monkeypatch.setenv("TF_METACOMPRESS_BENCHMARK_MODEL", str(tmp_path / "own"))
    assert read_benchmark_model(None, "armeabi-v7a") == elf(40)
    with pytest.raises(DeviceError, match="is for armeabi-v7a, but the device runs arm64-v8a"):
        read_benchmark_model(None, "arm64-v8a")
    with pytest.raises(DeviceError, match="no benchmark_model for arm64-v8a in .*none"):
        read_benchmark_model(tmp_path / "none", "arm64-v8a")


@pytest.mark.parametrize(
    ("khz", "threads", "mask"),
    [
        ([1, 1, 1, 1, 2, 2, 2, 2], 1, "f0"),
        ([1, 1, 1, 1, 2, 2, 2, 3], 4, "f0"),
        ([3, 1, 1, 1], 1, "1"),
        ([3, 1, 1, 1], 2, None),
        ([2, 2, 2, 2], 1, None),
        ([], 1, None),
    ],
)
def test_the_mask_of_the_big_cores(khz, threads, mask):
    assert big_cores(dict(enumerate(khz)), threads) == mask


def test_a_device_that_says_little(tmp_path):
    phone = read_phone("abi=\ncore 0 \ncore 1 \nnonsense")
    assert (phone.num_cores, phone.max_khz, phone.can_bind) == (2, {}, False)
    machine = phone.machine(None, "x")
    assert (machine.cpu, machine.architecture, machine.cores) == ("unknown", "unknown", 2)


@settings(max_examples=25)
@given(st.text(max_size=200), st.integers(1, 9))
def test_any_answer_of_a_device_is_read(text, threads):
    phone = read_phone(text)
    big_cores(phone.max_khz, threads)
    phone.machine("f0", "x").to_json()


@pytest.mark.parametrize(
    "setting", [{"timeout_s": 0}, {"cores": "xyz"}, {"cores": "f0; reboot"}, {"cores": 3.5}]
)
def test_settings_are_checked(setting):
    with pytest.raises(InvalidArgumentError, match=next(iter(setting))):
        AndroidDevice(**setting)


def in_shell(script):
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True).stdout


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_quoting_keeps_every_word(words):
    printed = in_shell(quoted(["printf", "%s\\0", *words]))
    assert printed.decode().split("\0")[:-1] == words


def test_the_end_of_a_script_is_told_whatever_it_prints():
    for script, code, text in (
        ("echo hi; exit 3", 3, "hi"),
        ("printf no-newline", 0, "no-newline"),
        ("echo tf_metacompress_end:0; exit 4 # not closed", 4, "tf_metacompress_end:0"),
        ("kill -4 $$", None, None),
    ):
        answer = read_marked(in_shell(marked(script)))
        assert (answer and (answer.code, answer.text)) == (text and (code, text))
    assert read_marked(b"cut\ntf_metacompress_end:") is None
    assert read_marked(b"\xff\r\ntf_metacompress_end:7\r\n").code == 7


def test_runs_of_a_named_kind_and_its_near_names(path):
    with pytest.raises(InvalidArgumentError, match="Did you mean 'android'"):
        benchmark(path, device="androi")
    assert Runs().num_runs == 50
