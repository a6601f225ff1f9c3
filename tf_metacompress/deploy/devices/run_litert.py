"""Times a .tflite file where it is copied to, and prints one line of JSON.

It stands alone: Python 3.8, NumPy and ai-edge-litert (or nothing, to be told what is missing) are
all it needs on the device. It uses `Interpreter`, as LiteRT's own benchmark tool loads a library
that ARMv8.0 cores cannot execute.

    python3 run_litert.py MODEL.tflite THREADS RUNS WARMUP
"""

import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path

MARK = "tf_metacompress_result:"
NO_RUNTIME, REFUSED = 3, 4
_MODEL_FILES = ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model")
_CPU_KEYS = ("model name", "Model", "Hardware", "cpu model")


def cpu_model():
    """Names the board or the processor."""
    for name in _MODEL_FILES:
        if os.path.isfile(name):
            return Path(name).read_text(errors="replace").strip("\0 \n")
    if os.path.isfile("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        values = {key.strip(): value.strip() for key, value in told.items()}
        for key in _CPU_KEYS:
            if values.get(key):
                return values[key]
    return platform.processor() or "unknown"


def machine():
    """Describes this machine."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        runtime = version("ai-edge-litert")
    except PackageNotFoundError:
        runtime = "unknown"
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "cores": len(affinity(0)) if affinity else (os.cpu_count() or 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "litert": runtime,
    }


def peak_rss_bytes():
    """Peak memory of this process; macOS counts in bytes, the others in KiB."""
    import resource

    # Linux lets a process inherit the peak that getrusage tells from the one that started it.
    if os.path.isfile("/proc/self/status"):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fill(interpreter, np):
    """Puts random numbers in [0, 1) into float and quantised inputs, zeros into indices."""
    rng = np.random.RandomState(0)
    for detail in interpreter.get_input_details():
        dtype, (scale, zero_point) = detail["dtype"], detail["quantization"]
        value = np.zeros(detail["shape"], dtype)
        if np.issubdtype(dtype, np.floating):
            value = rng.random_sample(tuple(detail["shape"])).astype(dtype)
        elif scale:
            limits = np.iinfo(dtype)
            steps = np.round(rng.random_sample(tuple(detail["shape"])) / scale) + zero_point
            value = np.clip(steps, limits.min, limits.max).astype(dtype)
        interpreter.set_tensor(detail["index"], value)


def time_runs(interpreter, count):
    """Times runs one after another, in milliseconds."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        interpreter.invoke()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def operators(interpreter):
    """Lists the operators, with parts that a delegate runs; None if the runtime does not tell."""
    try:
        details = interpreter._get_ops_details()
    except (AttributeError, ValueError, RuntimeError):
        return None
    return [
        {
            "op_name": op["op_name"],
            "inputs": [int(tensor) for tensor in op["inputs"]],
            "outputs": [int(tensor) for tensor in op["outputs"]],
        }
        for op in details
    ]


def measure(data, num_threads, num_runs, num_warmup):
    """Times a file."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    base_rss_bytes = peak_rss_bytes()
    begin = time.perf_counter()
    interpreter = Interpreter(model_content=data, num_threads=num_threads)
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter() - begin) * 1e3
    fill(interpreter, np)
    return {
        "init_ms": init_ms,
        "warmup_ms": time_runs(interpreter, num_warmup),
        "runs_ms": time_runs(interpreter, num_runs),
        "peak_rss_bytes": peak_rss_bytes(),
        "base_rss_bytes": base_rss_bytes,
        "operators": operators(interpreter),
    }


def main(words):
    """Runs the program and gives its exit code."""
    data = Path(words[0]).read_bytes()
    counts = [int(word) for word in words[1:4]]
    result, code = {"sha256": hashlib.sha256(data).hexdigest()}, 0
    try:
        result.update(measure(data, *counts))
        result["machine"] = machine()
    except ImportError as error:
        result["error"], code = str(error), NO_RUNTIME
    except (ValueError, RuntimeError) as error:
        result["error"], code = str(error), REFUSED
    print("\n" + MARK + json.dumps(result), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
