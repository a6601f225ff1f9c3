"""Runs .tflite files with LiteRT, in turns, and prints one line of JSON.

It is run in a process of its own, as a file can be consistent and still end the process that runs
it. Before each turn it prints the number of the file, so that the one at fault is known.

    python litert_program.py SYS_PATH_AS_JSON REQUEST_AS_JSON
"""

import contextlib
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

MARK, REFUSED = "tf_metacompress_result:", 3
_LEAST_MEMORY = 2**32


def bound_memory():
    """Lets a file that asks for more memory than there is fail here, not somebody else."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit but does not set it
        resource.setrlimit(resource.RLIMIT_AS, (max(memory, _LEAST_MEMORY),) * 2)


def timed(step, patience_s):
    """Times a step in milliseconds; the process ends when it takes longer than its patience."""
    signal.alarm(patience_s)
    begin = time.perf_counter_ns()
    step()
    took_ms = (time.perf_counter_ns() - begin) / 1e6
    signal.alarm(0)
    return took_ms


class Running:
    """One file and what was measured of it."""

    def __init__(self, number, path, request):
        self.number = number
        self.patience_s = request["patience_s"]
        self.told = {"blocks_ms": []}
        data = Path(path).read_bytes()
        print(number, flush=True)
        start = partial(self._start, data, request)
        self.told["init_ms"] = timed(start, self.patience_s)

    def _start(self, data, request):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        auto, plain = OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.interpreter = Interpreter(
            model_content=data,
            num_threads=request["num_threads"],
            experimental_op_resolver_type=auto if request["xnnpack"] else plain,
        )
        self.interpreter.allocate_tensors()

    def run(self, count):
        """Times runs one after another."""
        print(self.number, flush=True)
        return [timed(self.interpreter.invoke, self.patience_s) for _ in range(count)]


def answer(file, request, np):
    """Runs a file on samples from an .npz file, by tensor, and writes its outputs alike."""
    interpreter = file.interpreter
    with np.load(request["inputs"]) as stored:
        given = {int(index): stored[index] for index in stored.files}
    made = {detail["index"]: [] for detail in interpreter.get_output_details()}
    for sample in zip(*given.values(), strict=True) if given else [()]:
        for index, value in zip(given, sample, strict=True):
            interpreter.set_tensor(index, value)
        file.run(1)
        for index, values in made.items():
            values.append(interpreter.get_tensor(index))
    np.savez(request["outputs"], **{str(index): np.stack(v) for index, v in made.items()})


def measure(request):
    """Opens all files, then has them run in turns."""
    import numpy as np
    from run_litert import fill, operators, peak_rss_bytes

    files, base_rss_bytes = [], peak_rss_bytes()
    for number, path in enumerate(request["paths"]):
        files.append(Running(number, path, request))
    for file in files:
        print(file.number, flush=True)
        file.told["operators"] = operators(file.interpreter)
        if request["num_warmup"] or request["num_blocks"]:
            fill(file.interpreter, np)
        file.told["warmup_ms"] = file.run(request["num_warmup"])
        if "inputs" in request:
            answer(file, request, np)
    for block in range(request["num_blocks"]):
        for turn in range(len(files)):
            file = files[(turn + block) % len(files)]
            file.told["blocks_ms"].append(file.run(request["runs_per_block"]))
    return {
        "files": [file.told for file in files],
        "peak_rss_bytes": peak_rss_bytes(),
        "base_rss_bytes": base_rss_bytes,
    }


def main(request):
    """Runs the program and gives its exit code."""
    import ai_edge_litert.interpreter  # noqa: F401 so that loading it is not timed

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    bound_memory()
    try:
        told, code = measure(request), 0
    except MemoryError:
        told, code = {"reason": "not enough memory"}, REFUSED
    except (ValueError, RuntimeError) as error:
        told, code = {"reason": str(error)}, REFUSED
    print("\n" + MARK + json.dumps(told), flush=True)
    return code


if __name__ == "__main__":
    sys.path[:] = [*json.loads(sys.argv[1]), str(Path(__file__).parent / "devices")]
    sys.exit(main(json.loads(sys.argv[2])))
