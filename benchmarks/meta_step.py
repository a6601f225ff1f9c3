"""Time of a meta-step beside PyTorch's torch.func, and beside the arithmetic alone.

pip install ".[benchmarks]" --extra-index-url https://download.pytorch.org/whl/cpu
python benchmarks/meta_step.py            # about twelve minutes on two idle cores
python benchmarks/meta_step.py --quick    # three blocks, one inner step, no XLA; two minutes

A meta-step: gradients of 4 tasks, 5-way 1-shot with 15 queries a class, and the move of Adam. The
net has four strided 3x3 convolutions of 32 filters on 28x28x1 and a linear head. Ours is timed
through `fit`, sampling of ready-made tasks and callbacks included; PyTorch without any of that.

Three processes, ours, PyTorch and the floor, run blocks of steps in turn, never at the same time.

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
import time
from pathlib import Path

import numpy as np

TASKS, WAYS, SHOTS, QUERIES, FILTERS = 4, 5, 1, 15, 32
INNER_LR, META_LR = 0.1, 1e-3
ORDERS = ("second", "first")
OURS = ("eager", "graph", "XLA")
EXTRAS = ("graph, BatchNorm", "graph, int8 + 80 % zeros")
TORCH = ("vmap", "loop")
INSTALL = (
    "This benchmark compares with PyTorch: pip install torch --index-url "
    "https://download.pytorch.org/whl/cpu, or name a Python that has it with --torch-python."
)


def make_batch(index):
    """Support and query arrays of one meta-batch of random tasks, channels last."""
    generator = np.random.default_rng(index)

    def half(num_examples):
        x = generator.random((TASKS, WAYS * num_examples, 28, 28, 1), np.float32)
        return x, np.tile(np.repeat(np.arange(WAYS), num_examples), (TASKS, 1))

    return (*half(SHOTS), *half(QUERIES))


def network(batch_norm=False):
    """The net under Keras."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for _ in range(4):
        if batch_norm:
            model.add(layers.Conv2D(FILTERS, 3, 2, padding="same", use_bias=False))
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
        else:
            model.add(layers.Conv2D(FILTERS, 3, 2, padding="same", activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(WAYS))
    return model


class Ours:
    """A learner of this package; `run` takes meta-steps through `fit`."""

    def __init__(self, variant, order, inner_steps):
        import tensorflow as tf

        import tf_metacompress as tmc

        kind = tmc.meta.MAML if order == "second" else tmc.meta.FirstOrderMAML
        batch_norm = "BatchNorm" in variant
        policy = None
        if "int8" in variant:
            policy = tmc.Policy([tmc.Rule("*", weight_bits=8, sparsity=0.8)])
        self.learner = kind(
            network(batch_norm),
            inner_steps=inner_steps,
            inner_lr=INNER_LR,
            batch_norm="support" if batch_norm else "inference",
            policy=policy,
        ).compile(
            "adam",
            meta_batch_size=TASKS,
            jit_compile=variant == "XLA",
            pruning_schedule=tmc.schedules.ConstantSparsity(frequency=100),
        )
        self.eagerly = variant == "eager"
        self.set_eager = tf.config.run_functions_eagerly
        batches = [make_batch(index) for index in range(4)]
        self.tasks = [
            tmc.tasks.FewShotTask(support=(sx, sy), query=(qx, qy))
            for batch in batches
            for sx, sy, qx, qy in zip(*batch, strict=True)
        ]

    def run(self, num_steps):
        """Takes meta-steps."""
        self.set_eager(self.eagerly)
        learner = self.learner
        learner.fit(
            lambda index: self.tasks[index % len(self.tasks)],
            meta_steps=learner.meta_step + num_steps,
            steps_per_epoch=1000,
            verbose=0,
        )
        self.set_eager(False)


class Floor:
    """One plain forward and backward pass over as much arithmetic."""

    def __init__(self, variant, order, inner_steps):
        import tensorflow as tf

        passes = 3 if order == "second" else 1
        num = TASKS * WAYS * (QUERIES + passes * inner_steps * SHOTS)
        self.x = tf.random.uniform((num, 28, 28, 1))
        self.y = tf.constant(np.arange(num) % WAYS)
        self.step = tf.function(self._step, jit_compile=variant == "XLA")
        self.model = network()

    def _step(self, x, y):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.model(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, self.model.trainable_variables)

    def run(self, num_steps):
        """Takes passes, each waited for."""
        for _ in range(num_steps):
            self.step(self.x, self.y)[0].numpy()


class Torch:
    """The same learner written with torch.func, as its tutorials do."""

    def __init__(self, variant, order, inner_steps):
        import torch

        nn = torch.nn
        torch.manual_seed(0)
        blocks = []
        for channels in (1, FILTERS, FILTERS, FILTERS):
            blocks += [nn.Conv2d(channels, FILTERS, 3, 2, 1), nn.ReLU()]
        self.torch = torch
        self.net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * FILTERS, WAYS))
        self.inner_steps, self.first_order = inner_steps, order == "first"
        self.optimizer = torch.optim.Adam(self.net.parameters(), META_LR)
        self.gradient = torch.func.grad_and_value(
            self._mapped if variant == "vmap" else self._looped
        )
        self.batches = [
            [torch.from_numpy(np.moveaxis(a, -1, 2) if a.ndim > 2 else a) for a in make_batch(i)]
            for i in range(4)
        ]
        self.count = 0

    def _loss(self, weights, x, y):
        outputs = self.torch.func.functional_call(self.net, weights, (x,))
        return self.torch.nn.functional.cross_entropy(outputs, y)

    def _task(self, weights, sx, sy, qx, qy):
        for _ in range(self.inner_steps):
            slopes = self.torch.func.grad(self._loss)(weights, sx, sy)
            if self.first_order:
                slopes = {name: slope.detach() for name, slope in slopes.items()}
            weights = {name: w - INNER_LR * slopes[name] for name, w in weights.items()}
        return self._loss(weights, qx, qy)

    def _mapped(self, weights, batch):
        in_dims = (None, 0, 0, 0, 0)
        return self.torch.func.vmap(self._task, in_dims)(weights, *batch).mean()

    def _looped(self, weights, batch):
        losses = [self._task(weights, *task) for task in zip(*batch, strict=True)]
        return self.torch.stack(losses).mean()

    def run(self, num_steps):
        """Takes meta-steps."""
        for _ in range(num_steps):
            parameters = dict(self.net.named_parameters())
            weights = {name: p.detach() for name, p in parameters.items()}
            self.count += 1
            slopes, loss = self.gradient(weights, self.batches[self.count % len(self.batches)])
            for name, parameter in parameters.items():
                parameter.grad = slopes[name]
            self.optimizer.step()
            loss.item()


SIDES = {"ours": Ours, "torch": Torch, "floor": Floor}


def serve(side, num_threads):
    """Child process: makes a row, or runs a block of it, as each line that comes in says."""
    if side == "torch":
        import torch

        torch.set_num_threads(num_threads)
    rows = {}
    print("ready", flush=True)
    for line in sys.stdin:
        key, num_steps = json.loads(line)
        num_steps, key = int(num_steps), tuple(key)
        if key not in rows:
            rows[key] = SIDES[side](*key)
        start = time.perf_counter()
        rows[key].run(num_steps)
        print(1e3 * (time.perf_counter() - start) / num_steps, flush=True)


class Child:
    """A process that serves blocks."""

    def __init__(self, side, python):
        self.process = subprocess.Popen(
            [python, __file__, "--serve", side],
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
        found += [("torch", name, order, inner_steps) for name in TORCH]
        found += [("floor", "graph", order, inner_steps)]
    return found + [("ours", name, "second", inner_steps) for name in EXTRAS]


def measure(inner_steps, arguments):
    """Seconds of the first step, and raw milliseconds a step, of every row."""
    rows = rows_of(inner_steps, arguments.quick)
    pythons = {"torch": arguments.torch_python}
    children = {side: Child(side, pythons.get(side, sys.executable)) for side in SIDES}
    first_seconds, raw = {}, {row: [] for row in rows}
    for row in rows:
        first_seconds[row] = children[row[0]].ask(row[1:], 1) / 1e3
        children[row[0]].ask(row[1:], 4)
    for _ in range(arguments.blocks):
        for row in rows:
            steps = max(arguments.steps // 6, 2) if row[1] == "eager" else arguments.steps
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
        name = {"ours": "ours", "torch": "torch.func", "floor": "arithmetic"}[r["side"]]
        lines.append(
            f"| {r['inner_steps']} | {r['order']} | {name}, {r['variant']} | {r['median_ms']:.1f} "
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
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, os.cpu_count())
        return
    torch_version = check_torch(arguments.torch_python)
    arguments.blocks = 3 if arguments.quick else arguments.blocks
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
        "tasks": TASKS,
        "rows": rows,
    }
    out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
