"""A float and an int8 file, timed on the board: `python embedded_linux.py ssh:pi@raspberrypi`.

Without an argument this machine stands in for the board, and its figures say little of one. The
board needs ssh with a key and `pip install ai-edge-litert`; "android" names a phone instead.
"""

import sys
import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
device = sys.argv[1] if len(sys.argv) > 1 else "host"
x, y = load_dataset("digits").train

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(x, y, epochs=4, verbose=0)

folder = Path(tempfile.mkdtemp())
for mode in ("float32", "int8"):
    path = folder / f"{mode}.tflite"
    tmc.export_litert(model, path, mode=mode, representative_dataset=x[:200])
    try:
        print(tmc.benchmark(path, device=device, num_runs=200, num_warmup=20))
    except tmc.errors.DeviceError as error:
        sys.exit(f"{error.reason}: {error}")
