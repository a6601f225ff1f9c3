"""Time of a meta-step beside PyTorch's torch.func, and beside the arithmetic alone.

pip install ".[benchmarks]" --extra-index-url https://download.pytorch.org/whl/cpu
python benchmarks/meta_step.py            # about twenty minutes on two idle cores
python benchmarks/meta_step.py --quick    # three short blocks, one inner step, no XLA; a minute

A meta-step: gradients of 4 tasks, 5-way 1-shot with 15 queries a class, and the move of Adam. The
net has four strided 3x3 convolutions of 32 filters on 28x28x1 and a linear head. Ours is timed
through `fit`, sampling of ready-made tasks and callbacks included; PyTorch without any of that.

Four processes run blocks of steps in turn, never at the same time: ours, ours with one thread an
operation (`tf.config.threading.set_intra_op_parallelism_threads(1)`, a line that a user may write
before anything is computed: small operations of different tasks then run side by side and none is
split), PyTorch, and the floor.

The floor is what the same arithmetic costs when done plainly: one forward and backward pass of the
net, one set of weights and one batch, in TensorFlow. Differentiating forward and backward passes of
a support set once more takes twice the multiplications that they took: in second order a support
example costs as much as three plain passes, a query example one. So the batch has
tasks x (queries + 3 x inner steps x support) examples: 360 with one inner step, 600 with five; in
first order tasks x (queries + inner steps x support): 320 and 400.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

ROWS = Path(__file__).parent / "meta_step_sides/rows.py"
ORDERS = ("second", "first")
OURS = ("eager", "graph", "XLA")
EXTRAS = ("graph, BatchNorm", "graph, int8 + 80 % zeros")
TORCH = ("vmap", "loop", "vmap, one thread", "loop, one thread")
SIDES = {
    "ours": "ours",
    "one thread": "ours, one thread an operation",
    "torch": "torch.func",
    "floor": "arithmetic",
}
INSTALL = (
    "This benchmark compares with PyTorch: pip install torch --index-url "
    "https://download.pytorch.org/whl/cpu, or name a Python that has it with --torch-python."
)


class Child:
    """A process that serves blocks."""

    def __init__(self, side, python):
        self.process = subprocess.Popen(
            [python, str(ROWS), side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        while self._line() != "ready":
            pass

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A child process ended with code {self.process.wait()}.")
        return line.strip()

    def ask(self, key, num_steps):
        """Milliseconds a step of one block."""
        print(json.dumps([key, num_steps]), file=self.process.stdin, flush=True)
        return float(self._line())

    def finish(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def rows_of(inner_steps, quick):
    """Side, variant, order and inner steps of every row to measure."""
    found = []
    for order in ORDERS:
        names = [name for name in OURS if not (quick and name == "XLA")]
        found += [("ours", name, order, inner_steps) for name in names]
        found += [("one thread", "graph", order, inner_steps)]
        found += [("torch", name, order, inner_steps) for name in TORCH]
        found += [("floor", "graph", order, inner_steps)]
    sides = ("ours", "one thread")
    return found + [(side, name, "second", inner_steps) for name in EXTRAS for side in sides]


def measure(inner_steps, arguments):
    """Seconds of the first step, and raw milliseconds a step, of every row."""
    rows = rows_of(inner_steps, arguments.quick)
    pythons = {"torch": arguments.torch_python}
    children = {side: Child(side, pythons.get(side, sys.executable)) for side in SIDES}
    first_seconds, raw = {}, {row: [] for row in rows}
    for row in rows:
        first_seconds[row] = children[row[0]].ask(row[1:], 1) / 1e3
        print(*row, f"first step {first_seconds[row]:.1f} s", file=sys.stderr)
        children[row[0]].ask(row[1:], 1 if row[1] == "eager" else 4)
    for _ in range(arguments.blocks):
        for row in rows:
            steps = max(arguments.steps // 6, 1) if row[1] == "eager" else arguments.steps
            raw[row].append(children[row[0]].ask(row[1:], steps))
    for child in children.values():
        child.finish()
    return summarise(raw, first_seconds)


def summarise(raw, first_seconds):
    """Medians and fastest blocks; ratios to the better PyTorch form of the order, and the floor."""
    found = []
    for row, values in raw.items():
        side, variant, order, inner_steps = row
        forms = [raw["torch", name, order, inner_steps] for name in TORCH]
        best = np.array(min(forms, key=np.median))
        floor = np.array(raw["floor", "graph", order, inner_steps])
        values = np.array(values)
        found.append(
            {
                "side": side,
                "variant": variant,
                "order": order,
                "inner_steps": inner_steps,
                "median_ms": float(np.median(values)),
                "fastest_ms": float(values.min()),
                "to_torch": float(np.median(values / best)),
                "fastest_to_torch": float(values.min() / best.min()),
                "to_floor": float(np.median(values / floor)),
                "fastest_to_floor": float(values.min() / floor.min()),
                "first_step_s": first_seconds[row],
                "raw_ms": [round(float(value), 3) for value in values],
            }
        )
    return found


def table(rows):
    """The rows as Markdown."""
    lines = [
        "| inner steps | order | what | median, ms | fastest, ms | to torch.func's best (fastest) "
        "| to the floor (fastest) | first step, s |",
        "|---" * 8 + "|",
    ]
    for r in rows:
        name = f"{SIDES[r['side']]}, {r['variant']}"
        lines.append(
            f"| {r['inner_steps']} | {r['order']} | {name} | {r['median_ms']:.1f} "
            f"| {r['fastest_ms']:.1f} | {r['to_torch']:.2f} ({r['fastest_to_torch']:.2f}) "
            f"| {r['to_floor']:.2f} ({r['fastest_to_floor']:.2f}) | {r['first_step_s']:.1f} |"
        )
    return "\n".join(lines)


def check_torch(python):
    """Says what to install when a Python has no PyTorch; its version."""
    if python == sys.executable and importlib.util.find_spec("torch") is None:
        raise SystemExit(INSTALL)
    command = [python, "-c", "import torch; print(torch.__version__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(INSTALL)
    return done.stdout.strip()


def main():
    """Measures, prints a table, writes the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    torch_version = check_torch(arguments.torch_python)
    if arguments.quick:
        arguments.blocks, arguments.steps = 3, min(arguments.steps, 5)
    rows = []
    for inner_steps in (1,) if arguments.quick else (1, 5):
        rows += measure(inner_steps, arguments)
    print(table(rows))
    if arguments.out is None and arguments.quick:
        return
    out = arguments.out or Path(__file__).parent / "results/meta_step.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "torch": torch_version,
        "rows": rows,
    }
    out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
