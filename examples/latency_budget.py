"""A limit in milliseconds, met by removing channels: `python latency_budget.py [DEVICE]`.

For DEVICE "host" (this machine, the default) it needs nothing but this package; for "android" a
phone with USB debugging, `adb` and `benchmark_model`; for "ssh:USER@HOST" a board with a key and
`pip install ai-edge-litert`. Each layer is timed there, as it is and with half the channels; what
was timed once is kept in the cache folder of the user.
"""

import sys
import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.deploy import LitertModel, measure_latencies
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
device = sys.argv[1] if len(sys.argv) > 1 else "host"
profile = "x86-host" if device == "host" else "android-arm64"
data = load_dataset("digits")
(x, y), (x_test, y_test) = data.train, data.test

model = keras.Sequential(
    [
        keras.Input(data.input_shape),
        layers.Conv2D(64, 3, padding="same", activation="relu", name="conv1"),
        layers.Conv2D(128, 3, padding="same", activation="relu", name="conv2"),
        layers.Conv2D(128, 3, padding="same", activation="relu", name="conv3"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, name="head"),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
model.fit(x, y, epochs=4, verbose=0)

int8 = tmc.Action(weight_bits=8)
table = measure_latencies(model, device=device, actions=[int8], widths=[1.0, 0.5], quiet=True)
whole_ms = table.overhead_ms + sum(table.lookup(info, int8) for info in tmc.describe(model))
print(f"int8 takes {whole_ms:.4f} ms by the table, on {table.device}")

# No bits are faster than int8, so whole channels go, rounded to what the device computes at once.
budget = tmc.Budget(latency_ms=0.6 * whole_ms)
compressor = tmc.MetaCompressor(actions=[int8])
policy = compressor.propose(model, budget, profile, latency=table, support=(x[:256], y[:256]))
print(tmc.summary(model, policy))

folder = Path(tempfile.mkdtemp())
paths = [folder / "whole.tflite", folder / "faster.tflite"]
tmc.export_litert(model, paths[0], mode="int8", representative_dataset=x[:200])
student = tmc.compress(model, policy, device=profile)
student.compile("adam", loss, metrics=["accuracy"])
pruning = tmc.callbacks.PruningSchedule(begin_step=0, end_step=90, frequency=10)
student.fit(x, y, epochs=4, callbacks=[pruning], verbose=0)
faster = tmc.finalize(student)
tmc.export_litert(faster, paths[1], mode="int8", representative_dataset=x[:200])
# The faster one has trained for longer, which is why it may answer better.
for path in paths:
    right = LitertModel.open(path).predict(x_test).argmax(axis=-1) == y_test
    print(f"{path.stem}: accuracy {right.mean():.3f}")
    print(tmc.benchmark(path, device=device))
if device == "host":
    print(tmc.compare(paths))
