"""Reads what `benchmark_model` tells: its text, of either dialect, and its result file.

TensorFlow Lite's tool prints microseconds on one line, LiteRT 2's milliseconds in a block, rounded
to 0.01. Both print a line of statistics in whole microseconds for the warm-up and for the runs, and
both write a `tflite.tools.benchmark.BenchmarkResult` (tflite/tools/benchmark/proto/
benchmark_result.proto), in single precision, where `--result_file_path` says; older ones do not
know that flag and warn. The result file goes before the statistics, those before the rest.
"""

import math
import re
from collections.abc import Mapping

from tf_metacompress.deploy.devices.remote_shell import last_lines
from tf_metacompress.deploy.devices.wire_format import read_fields
from tf_metacompress.deploy.reported_runs import ReportedRuns
from tf_metacompress.errors import DeviceError

Values = dict[str, float]

_NUMBER = r"([-+.\w]+)"
_US, _MS, _MIB, _KIB = 1e-3, 1.0, 2.0**20, 2.0**10

# The message, the field in it, what it says and its unit.
_RESULT_FIELDS: Mapping[tuple[int, int], tuple[str, float]] = {
    (2, 1): ("mean_ms", _MS),
    (2, 2): ("min_ms", _MS),
    (2, 3): ("max_ms", _MS),
    (2, 4): ("std_ms", _MS),
    (2, 5): ("p50_ms", _MS),
    (2, 6): ("p5_ms", _MS),
    (2, 7): ("p95_ms", _MS),
    (2, 8): ("init_ms", _MS),
    (2, 9): ("first_ms", _MS),
    (2, 10): ("warmup_mean_ms", _MS),
    (3, 2): ("footprint_bytes", _KIB),
    (3, 3): ("peak_bytes", _MIB),
    (4, 2): ("num_runs", 1.0),
    (4, 3): ("num_warmup", 1.0),
}
_MESSAGES = {message for message, _ in _RESULT_FIELDS}

_SUMMARY = (
    (rf"timings in us: Init: {_NUMBER},", "init_ms", _US),
    (rf"timings in us:.* First inference: {_NUMBER},", "first_ms", _US),
    (rf"timings in us:.* Warmup \(avg\): {_NUMBER},", "warmup_mean_ms", _US),
    (rf"timings in us:.* Inference \(avg\): {_NUMBER}", "mean_ms", _US),
    (rf"Memory footprint delta .* overall={_NUMBER}", "footprint_bytes", _MIB),
    (rf"peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}", "peak_bytes", _MIB),
    (rf"Model initialization: +{_NUMBER} ms", "init_ms", _MS),
    (rf"(?:Warmup \(first\)|First inference): +{_NUMBER} ms", "first_ms", _MS),
    (rf"Warmup \(avg\): +{_NUMBER} ms", "warmup_mean_ms", _MS),
    (rf"Warmup \(avg\): +\S+ ms \({_NUMBER} runs\)", "num_warmup", 1.0),
    (rf"Inference \(avg\): +{_NUMBER} ms", "mean_ms", _MS),
    (rf"Inference \(avg\): +\S+ ms \({_NUMBER} runs\)", "num_runs", 1.0),
    (rf"Inference \(min\): +{_NUMBER} ms", "min_ms", _MS),
    (rf"Inference \(max\): +{_NUMBER} ms", "max_ms", _MS),
    (rf"Inference \(std\): +{_NUMBER}", "std_ms", _MS),
    (rf"Overall footprint: +{_NUMBER} MB", "footprint_bytes", _MIB),
    (rf"Peak memory: +{_NUMBER} MB", "peak_bytes", _MIB),
)
_STATISTICS = re.compile(r"^(?!.*(?:Timings|Memory) \().*?\bcount=(\d+)(.*)$", re.MULTILINE)
_STATISTIC = re.compile(rf"\b(\w+)={_NUMBER}")
_NAMES = {
    "avg": "mean_ms",
    "std": "std_ms",
    "min": "min_ms",
    "max": "max_ms",
    "p5": "p5_ms",
    "median": "p50_ms",
    "p95": "p95_ms",
    "first": "first_ms",
}
_COUNTS = ("num_runs", "num_warmup", "footprint_bytes", "peak_bytes")


def read_benchmark_output(text: str, result_file: bytes = b"") -> ReportedRuns:
    """Reads what the tool printed and what it wrote.

    Args:
        text: Everything it printed, on either stream.
        result_file: The file it wrote, or nothing for a tool that writes none.

    Returns:
        The summary of its runs.

    Raises:
        DeviceError: If no timed run is in it, or the numbers cannot be.

    Example:
        >>> read_benchmark_output("count=2 first=3000 curr=1000 min=1000 max=3000 avg=2000 std=1000"
        ... ).mean_ms
        2.0
    """
    values = {**_read_summary(text), **_read_statistics(text), **_read_result_file(result_file)}
    if not values.get("num_warmup", 1):
        first_ms = _read_statistics(text).get("first_ms", math.nan)
        values |= {"first_ms": first_ms, "warmup_mean_ms": math.nan}
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    if known.get("num_runs") == 0 or "mean_ms" not in known:
        raise DeviceError(f"benchmark_model told of no timed run. It said: {last_lines(text)}")
    if any(value < 0 for name, value in known.items() if name != "footprint_bytes"):
        raise DeviceError(f"benchmark_model told of negative times. Received: {known}.")
    runs = {name: int(value) if name in _COUNTS else value for name, value in known.items()}
    return ReportedRuns(**runs)


def _read_summary(text: str) -> Values:
    values: Values = {}
    for pattern, name, unit in _SUMMARY:
        found = re.search(pattern, text)
        if found:
            values[name] = _number(found[1]) * unit
    return values


def _read_statistics(text: str) -> Values:
    """Reads the statistics, in whole microseconds, of the warm-up and of the runs."""
    found = _STATISTICS.findall(text)
    if len(found) == 2:
        values = {f"warmup_{name}": value for name, value in _statistics(*found[0]).items()}
        warmup = {"num_warmup": values["warmup_num_runs"]}
        if values["warmup_num_runs"]:
            warmup["first_ms"] = values.get("warmup_first_ms", math.nan)
            warmup["warmup_mean_ms"] = values.get("warmup_mean_ms", math.nan)
        return {**_statistics(*found[1]), **warmup}
    return _statistics(*found[0]) if len(found) == 1 else {}


def _statistics(count: str, rest: str) -> Values:
    told = {name: _number(value) for name, value in _STATISTIC.findall(rest)}
    values = {_NAMES[name]: value * _US for name, value in told.items() if name in _NAMES}
    if "avg" not in told and "curr" in told:  # one run, or all alike
        same = told["curr"] * _US
        values |= {name: same for name in ("mean_ms", "min_ms", "max_ms", "first_ms")}
        values["std_ms"] = 0.0
    return {"num_runs": _number(count), **values}


def _read_result_file(data: bytes) -> Values:
    values: Values = {}
    for message, inner in read_fields(data):
        if message not in _MESSAGES or not isinstance(inner, bytes):
            continue
        for field, value in read_fields(inner):
            if (message, field) in _RESULT_FIELDS and not isinstance(value, bytes):
                name, unit = _RESULT_FIELDS[message, field]
                values[name] = float(value) * unit
    return values


def _number(text: str) -> float:
    """Reads a number; what is none, such as a cut one, counts as not told."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) < 1e15 else math.nan
