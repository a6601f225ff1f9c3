"""What it costs to have Φ propose for a model, and to adapt Φ to it.

python benchmarks/phi_cost.py            # about three minutes on two idle cores

Each call runs in a process of its own, which has imported TensorFlow and built the model before:
`propose` by the weights, `propose` with a support set, `adapt` with its five inner steps and five
trials, all on MobileNetV2-0.35 at 96x96 (random weights: only the cost is looked at) with 256
support examples; with one thread, and with as many as there are cores. Goals: `propose` in 5
seconds on one core, `adapt` in 30.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

CALLS = ("propose", "propose, reads data", "adapt")
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
_NUM_SUPPORT, _CLASSES = 256, 10


def measure(call):
    """Seconds, processor seconds and peak memory of one call, in this process."""
    import keras
    import numpy as np

    import tf_metacompress as tmc

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=_CLASSES)
    x = np.random.default_rng(0).random((_NUM_SUPPORT, 96, 96, 3), np.float32)
    support = x, np.arange(_NUM_SUPPORT) % _CLASSES
    phi, budget = tmc.MetaCompressor.pretrained(), tmc.Budget(size_ratio=0.2)
    calls = {
        CALLS[0]: lambda: phi.propose(model, budget),
        CALLS[1]: lambda: phi.propose(model, budget, support=support),
        CALLS[2]: lambda: phi.adapt(tmc.Task(model, budget, "android-arm64", support=support)),
    }
    wall, processor = time.perf_counter(), time.process_time()
    calls[call]()
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_own_process(call, num_threads):
    """Measures a call in a fresh process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= dict.fromkeys(_THREADS, str(num_threads))
    command = [sys.executable, __file__, "--call", call]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(rows):
    """The rows as Markdown."""
    head = "| call | threads | seconds | processor seconds | peak MiB of the process |"
    lines = [head, "|---|---|---|---|---|"]
    for row in rows:
        cells = f"{row['seconds']:.1f} | {row['processor_seconds']:.1f} | {row['peak_mib']:.0f}"
        lines.append(f"| {row['call']} | {row['threads']} | {cells} |")
    return "\n".join(lines) + "\n"


def main():
    """Measures all calls and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--call", choices=CALLS, help="measure this one here, print JSON")
    default = Path(__file__).parent / "results/phi_cost.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON; .md is put beside it")
    arguments = parser.parse_args()
    if arguments.call:
        print(json.dumps(measure(arguments.call)))
        return
    rows = []
    for num_threads in sorted({1, os.cpu_count()}):
        for call in CALLS:
            rows.append({"call": call, "threads": num_threads, **in_own_process(call, num_threads)})
            print(rows[-1], flush=True)
    # Imported late: the peak of a process counts what its parent had in use.
    from tf_metacompress.atomic import write_json, write_text

    found = {"machine": platform.machine(), "cpus": os.cpu_count(), "rows": rows}
    write_json(arguments.out, found)
    write_text(arguments.out.with_suffix(".md"), table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
