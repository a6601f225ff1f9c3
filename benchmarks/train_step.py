"""What compression adds to a training step, beside what tfmot adds to one of tf_keras.

python benchmarks/train_step.py            # about fifteen minutes on two idle cores
python benchmarks/train_step.py --quick    # three blocks, for a look

Two processes, one with Keras 3 and this package, one with tf_keras and tfmot, run blocks of steps
in turn, never at the same time. The ratio of a block is taken to the plain block of the same round.
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

import numpy as np

VARIANTS = ("plain", "pruning", "qat", "both")
NETWORKS = {"ResNet-8": ((32, 32, 3), 32), "MobileNetV2-0.35-96": ((96, 96, 3), 32)}
SHOWN = ("fastest_ms", "fastest_ratio", "ratio")
SPARSITY, FREQUENCY = 0.5, 50


def resnet8(api):
    """The residual net of MLPerf Tiny's image classification."""
    layers = api.layers

    def convolution(x, filters, size, strides=1):
        x = layers.Conv2D(filters, size, strides, padding="same", kernel_initializer="he_normal")(x)
        return layers.BatchNormalization()(x)

    inputs = api.Input((32, 32, 3))
    x = layers.ReLU()(convolution(inputs, 16, 3))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(convolution(x, filters, 3, strides))
        y = convolution(y, filters, 3)
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return api.Model(inputs, layers.Dense(10, activation="softmax")(x))


def network(api, name):
    """One of `NETWORKS`, built with Keras 3 or with tf_keras."""
    if name == "ResNet-8":
        return resnet8(api)
    return api.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)


def ours(name, variant):
    """The model under Keras 3, and the callbacks it trains with."""
    import keras

    import tf_metacompress as tmc

    model = network(keras, name)
    rules = {
        "pruning": tmc.Rule("*", sparsity=SPARSITY),
        "qat": tmc.Rule("*", weight_bits=8),
        "both": tmc.Rule("*", sparsity=SPARSITY, weight_bits=8),
    }
    if variant == "plain":
        return model, []
    callbacks = []
    if variant != "qat":
        schedule = tmc.schedules.ConstantSparsity(frequency=FREQUENCY)
        callbacks = [tmc.callbacks.PruningSchedule(schedule)]
    return tmc.compress(model, tmc.Policy([rules[variant]])), callbacks


def tfmots(name, variant):
    """The same under tf_keras, wrapped by tfmot; "both" preserves the zeros of a pruned model."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    model = network(tf_keras, name)
    if variant == "plain":
        return model, []
    if variant == "qat":
        return tfmot.quantization.keras.quantize_model(model), []
    sparsity = tfmot.sparsity.keras
    schedule = sparsity.ConstantSparsity(SPARSITY, 0, frequency=FREQUENCY)
    pruned = sparsity.prune_low_magnitude(model, schedule)
    if variant == "pruning":
        return pruned, [sparsity.UpdatePruningStep()]
    annotated = tfmot.quantization.keras.quantize_annotate_model(sparsity.strip_pruning(pruned))
    combine = tfmot.experimental.combine
    scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    return tfmot.quantization.keras.quantize_apply(annotated, scheme), []


class Trainer:
    """One compiled model and its data; `block` trains it for some steps."""

    def __init__(self, side, name, variant, num_steps):
        shape, batch_size = NETWORKS[name]
        generator = np.random.default_rng(0)
        self.x = generator.random((batch_size * num_steps, *shape), np.float32)
        self.y = generator.integers(10, size=len(self.x))
        self.batch_size = batch_size
        self.model, self.callbacks = {"ours": ours, "tfmot": tfmots}[side](name, variant)
        self.model.compile("adam", "sparse_categorical_crossentropy")

    def block(self):
        """Trains through the data once; milliseconds a step."""
        start = time.perf_counter()
        self.model.fit(
            self.x, self.y, batch_size=self.batch_size, callbacks=self.callbacks, verbose=0
        )
        return 1e3 * (time.perf_counter() - start) * self.batch_size / len(self.x)


def serve(side, name, num_steps, variants):
    """Child process: trains a block of the variant named on each line that comes in."""
    trainers = {variant: Trainer(side, name, variant, num_steps) for variant in variants}
    for trainer in trainers.values():
        trainer.block()
    print("ready", flush=True)
    for line in sys.stdin:
        print(trainers[line.strip()].block(), flush=True)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(kib, flush=True)


class Child:
    """A process that serves blocks."""

    def __init__(self, side, name, num_steps, variants):
        legacy = {"TF_USE_LEGACY_KERAS": "1"} if side == "tfmot" else {}
        command = [sys.executable, __file__, "--serve", side, "--network", name]
        command += ["--steps", str(num_steps), "--variants", *variants]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **legacy},
        )
        while self._line() != "ready":
            pass

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A child process ended with code {self.process.wait()}.")
        return line.strip()

    def ask(self, variant):
        """Milliseconds a step of one block."""
        print(variant, file=self.process.stdin, flush=True)
        return float(self._line())

    def finish(self):
        """Ends the process; its peak resident memory in MiB."""
        self.process.stdin.close()
        return float(self._line()) / 1024


def measure_steps(name, num_blocks, num_steps):
    """Median milliseconds a step and median ratio to plain, of both sides."""
    children = {side: Child(side, name, num_steps, VARIANTS) for side in ("ours", "tfmot")}
    raw = {side: {variant: [] for variant in VARIANTS} for side in children}
    for _ in range(num_blocks):
        for variant in VARIANTS:
            for side, child in children.items():
                raw[side][variant].append(child.ask(variant))
    for child in children.values():
        child.finish()
    return {side: summarise(times) for side, times in raw.items()}


def summarise(times):
    """Medians of one side's raw times, and its fastest blocks, which a throttle touches least."""
    plain = np.array(times["plain"])
    return {
        variant: {
            "ms_per_step": float(np.median(values)),
            "ratio": float(np.median(np.array(values) / plain)),
            "fastest_ms": float(np.min(values)),
            "fastest_ratio": float(np.min(values) / np.min(plain)),
            "raw_ms": [round(value, 3) for value in values],
        }
        for variant, values in times.items()
    }


def measure_memory(name, num_steps):
    """Peak resident memory of each variant in a process of its own, in MiB and against plain."""
    peaks = {}
    for variant in VARIANTS:
        child = Child("ours", name, num_steps, [variant])
        child.ask(variant)
        peaks[variant] = child.finish()
    return {
        variant: {"peak_mib": peak, "ratio": peak / peaks["plain"]}
        for variant, peak in peaks.items()
    }


def main():
    """Measures, prints a table, writes the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--serve", choices=("ours", "tfmot"), help=argparse.SUPPRESS)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--out", default=Path(__file__).parent / "results/train_step.json")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.network, arguments.steps, arguments.variants)
        return
    blocks = 3 if arguments.quick else arguments.blocks
    report = {"machine": platform.machine(), "cpus": os.cpu_count(), "networks": {}}
    print(
        "| network | variant |",
        *(f"{s} {k} |" for s in ("ours", "tfmot") for k in SHOWN),
        "memory |",
    )
    print("|---" * (3 + 2 * len(SHOWN)) + "|")
    for name in [arguments.network] if arguments.network else NETWORKS:
        sides = measure_steps(name, blocks, arguments.steps)
        memory = {} if arguments.no_memory else measure_memory(name, arguments.steps)
        report["networks"][name] = {**sides, "memory": memory}
        for variant in VARIANTS:
            mine, theirs = sides["ours"][variant], sides["tfmot"][variant]
            cells = [row[key] for row in (mine, theirs) for key in SHOWN]
            cells.append(memory[variant]["ratio"] if memory else float("nan"))
            print(f"| {name} | {variant} | " + " | ".join(f"{c:.2f}" for c in cells) + " |")
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
