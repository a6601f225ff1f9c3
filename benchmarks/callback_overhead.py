"""What compression adds to a training step, as a ratio to plain `fit`, in interleaved blocks.

python benchmarks/callback_overhead.py   # about two minutes on two cores
"""

import argparse
import json
import platform
import time
from pathlib import Path

import keras
import numpy as np

import tf_metacompress as tmc

layers = keras.layers
BATCH_SIZE, STEPS = 64, 12
POLICIES = {
    "pruning": tmc.Policy([tmc.Rule("*", sparsity=0.5)]),
    "weights in 8 bits": tmc.Policy([tmc.Rule("*", weight_bits=8, activation_bits=32)]),
    "weights and activations in 8 bits": tmc.Policy([tmc.Rule("*", weight_bits=8)]),
    "all": tmc.Policy([tmc.Rule("*", sparsity=0.5, weight_bits=8)]),
}


def network():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flat"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="head"),
        ]
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--out", default=Path(__file__).parent / "results/callback_overhead.json")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    x = generator.random((BATCH_SIZE * STEPS, 28, 28, 1), np.float32)
    y = generator.integers(10, size=len(x))
    base = network()
    models = {"plain fit": network()}
    models |= {name: tmc.compress(base, policy) for name, policy in POLICIES.items()}
    for model in models.values():
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
    seconds = {name: [] for name in models}
    for _ in range(arguments.blocks):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(x, y, batch_size=BATCH_SIZE, epochs=2, verbose=0)
            seconds[name].append((time.perf_counter() - start) / (2 * STEPS))
    plain = np.array(seconds["plain fit"])
    rows = {
        name: {
            "ms_per_step": float(np.median(values)) * 1e3,
            "ratio": float(np.median(np.array(values) / plain)),
            "raw_ms": [value * 1e3 for value in values],
        }
        for name, values in seconds.items()
    }
    for name, row in rows.items():
        print(f"{name:35s} {row['ms_per_step']:7.2f} ms a step, ratio {row['ratio']:.2f}")
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": rows, "machine": platform.machine(), "batch_size": BATCH_SIZE}
    out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
