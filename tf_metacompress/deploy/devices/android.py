"""A phone, measured with the stock `adb` and `benchmark_model`."""

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.devices.adb import AdbShell, choose_device, find_adb, list_devices
from tf_metacompress.deploy.devices.benchmark_output import read_benchmark_output
from tf_metacompress.deploy.devices.benchmark_tool import read_benchmark_model
from tf_metacompress.deploy.devices.device import Runs, register_device_kind
from tf_metacompress.deploy.devices.op_profile import read_op_profile, reported_delegation
from tf_metacompress.deploy.devices.phone import ASK_PHONE, Phone, big_cores, read_phone
from tf_metacompress.deploy.devices.remote_shell import (
    Answer,
    failure,
    last_lines,
    remote_folder,
    run_in,
)
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.deploy.reported_runs import OpTime
from tf_metacompress.errors import DeviceError, check_positive, invalid

_BASE = "/data/local/tmp"
_MODEL, _TOOL, _RESULT, _PROFILE = "model.tflite", "benchmark_model", "result.pb", "ops.csv"
_BIG = "big"
_MASK = re.compile(r"[0-9a-fA-F]{1,16}")
_SHORT_S = 30.0
_PROFILED_RUNS = 10
_SIGNALS = {
    132: "an instruction that its processor lacks (SIGILL)",
    134: "an abort (SIGABRT)",
    137: "being killed, perhaps for want of memory (SIGKILL)",
    139: "a crash (SIGSEGV)",
}


@dataclass(frozen=True, kw_only=True)
class AndroidDevice:
    """Times files on an Android device with the `benchmark_model` of LiteRT or TensorFlow Lite.

    The tool tells a summary, not each run: `BenchmarkResult.reported` holds it, `runs_ms` is empty.

    Attributes:
        serial: The device; None takes the only one that is ready.
        benchmark_model: The program or a folder with builds of it; None looks where the environment
            variable TF_METACOMPRESS_BENCHMARK_MODEL says, else in ~/.cache/tf_metacompress.
        adb: The adb program; None looks where ADB says, on the PATH and in the Android SDK.
        cores: "big" binds the run to the cores above the slowest kind, a hexadecimal mask to those
            cores, None to none.
        profile: Whether to run once more for the time of each operator and the peak of memory.
        timeout_s: Seconds after which a run is given up.

    Example:
        >>> AndroidDevice(serial="R58M12ABCDE").name
        'android:R58M12ABCDE'
    """

    serial: str | None = None
    benchmark_model: PathLike | None = None
    adb: str | None = None
    cores: str | None = _BIG
    profile: bool = True
    timeout_s: float = 600.0
    name: str = field(init=False, default="android")

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_positive("timeout_s", self.timeout_s)
        if self.cores not in (_BIG, None) and not _MASK.fullmatch(str(self.cores)):
            raise invalid("`cores` must be 'big', None or a hexadecimal mask.", cores=self.cores)
        if self.serial:
            object.__setattr__(self, "name", f"android:{self.serial}")

    @classmethod
    def at(cls, address: str, *, benchmark_model: PathLike | None = None) -> Self:
        """Makes the device from what stands behind "android:".

        Args:
            address: A serial number, or nothing.
            benchmark_model: As the attribute.

        Returns:
            The device.
        """
        return cls(serial=address or None, benchmark_model=benchmark_model)

    def benchmark(self, path: PathLike, runs: Runs) -> BenchmarkResult:
        """Times a file on the device.

        Args:
            path: The file, on this machine.
            runs: How to time it.

        Returns:
            The summary that the tool on the device tells.

        Raises:
            CorruptFileError: If the file is damaged.
            InvalidArgumentError: If there is no such file.
            DeviceError: If adb, the device or the tool is missing, or fails.
        """
        data = read_model_file(path)
        read_flatfile(data, str(path))
        adb = find_adb(self.adb)
        shell = AdbShell(adb, choose_device(list_devices(adb), self.serial))
        phone = read_phone(shell.run(ASK_PHONE, _SHORT_S).text)
        tool = read_benchmark_model(self.benchmark_model, phone.properties["abi"])
        mask = self._mask(phone, runs.num_threads)
        with remote_folder(shell, _BASE) as folder:
            shell.push(data, f"{folder}/{_MODEL}", self.timeout_s)
            shell.push(tool, f"{folder}/{_TOOL}", self.timeout_s)
            shell.run(f"chmod 700 {folder}/{_TOOL}", _SHORT_S)
            bench = _Bench(shell, folder, mask, self.timeout_s)
            signature = _first_signature(data)
            text = bench.run(runs, [f"--result_file_path={folder}/{_RESULT}", *signature])
            result_file = shell.pull(f"{folder}/{_RESULT}", self.timeout_s)
            reported = read_benchmark_output(text, result_file)
            ops, peak = bench.profile(runs, signature) if self.profile else ((), None)
        return BenchmarkResult(
            path=str(path),
            sha256=hashlib.sha256(data).hexdigest(),
            file_bytes=len(data),
            device=f"{phone.kind}:{shell.serial}",
            machine=phone.machine(mask, f"benchmark_model {hashlib.sha256(tool).hexdigest()[:12]}"),
            num_threads=runs.num_threads,
            delegation=reported_delegation(text, ops),
            init_ms=reported.init_ms,
            warmup_ms=(),
            runs_ms=(),
            p50_ms=reported.p50_ms,
            p90_ms=None,
            p95_ms=reported.p95_ms,
            min_ms=reported.min_ms,
            reported=reported,
            ops=ops,
            cpu_mask=mask,
            peak_rss_bytes=reported.peak_bytes or peak,
        )

    def _mask(self, phone: Phone, num_threads: int) -> str | None:
        if self.cores == _BIG:
            return big_cores(phone.max_khz, num_threads) if phone.can_bind else None
        if self.cores is not None and not phone.can_bind:
            raise DeviceError("The device has no `taskset`; pass cores=None.", reason="refused")
        return self.cores


@dataclass(frozen=True)
class _Bench:
    """The tool and a file, in a folder on a device."""

    shell: AdbShell
    folder: str
    mask: str | None
    timeout_s: float

    def run(self, runs: Runs, flags: Sequence[str]) -> str:
        """Runs the tool and gives what it printed."""
        words = [
            *(["taskset", self.mask] if self.mask else []),
            f"{self.folder}/{_TOOL}",
            f"--graph={self.folder}/{_MODEL}",
            f"--num_threads={runs.num_threads}",
            f"--num_runs={runs.num_runs}",
            f"--warmup_runs={runs.num_warmup}",
            "--min_secs=0",
            "--warmup_min_secs=0",
            f"--max_secs={self.timeout_s:g}",
            *flags,
        ]
        answer = run_in(self.shell, self.folder, words, self.timeout_s)
        if answer.code:
            raise _tool_failed(answer, self.shell.name)
        return answer.text

    def profile(
        self, runs: Runs, more_flags: Sequence[str]
    ) -> tuple[tuple[OpTime, ...], int | None]:
        """Runs the tool once more, which takes time of its own, for operators and memory."""
        file = f"{self.folder}/{_PROFILE}"
        flags = [
            "--enable_op_profiling=true",
            "--op_profiling_output_mode=csv",
            f"--op_profiling_output_file={file}",
            f"--profiling_output_csv_file={file}",
            "--use_profiler=true",
            "--report_peak_memory_footprint=true",
            "--memory_footprint_check_interval_ms=5",
            *more_flags,
        ]
        count = min(_PROFILED_RUNS, runs.num_runs)
        few = Runs(num_threads=runs.num_threads, num_runs=count, num_warmup=1)
        try:
            text = self.run(few, flags)
            csv = self.shell.pull(file, self.timeout_s).decode("utf-8", "replace")
            return read_op_profile(csv or text), read_benchmark_output(text).peak_bytes
        except DeviceError as error:
            warnings.warn(f"There is no profile of the operators: {error}", stacklevel=3)
            return (), None


def _first_signature(data: bytes) -> list[str]:
    """Names the signature to run, which the tool asks for when there are several."""
    model = schema.Model.GetRootAs(data)
    if model.SignatureDefsLength() < 2:
        return []
    key = model.SignatureDefs(0).SignatureKey() or b""
    return [f"--signature_to_run_for={key.decode('utf-8', 'replace')}"]


def _tool_failed(answer: Answer, device: str) -> DeviceError:
    if answer.code in (126, 127):
        return failure(f"{device} cannot execute benchmark_model; is it built for it?", answer.text)
    if answer.code in _SIGNALS:
        why = f"with {_SIGNALS[answer.code]}"
    else:
        why = f"with exit code {answer.code}"
    return DeviceError(
        f"benchmark_model on {device} ended {why}. It said: {last_lines(answer.text)}"
    )


register_device_kind("android", AndroidDevice.at)
