"""A model as C source for TensorFlow Lite Micro: `python microcontroller_handover.py [DIR]`.

DIR gets the model as an aligned array, its header, and a resolver with the operators it uses. It
needs nothing but this package; with `pip install 'tf_metacompress[micro]'` TensorFlow Lite Micro
runs the file here, which tells the arena and how far its outputs lie from LiteRT's.
"""

import sys
import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.deploy import export_c_array, measure_micro
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
work = Path(tempfile.mkdtemp())
out = sys.argv[1] if len(sys.argv) > 1 else work / "firmware"
x, y = load_dataset("digits").train

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.DepthwiseConv2D(3, activation="relu"),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=4, verbose=0)

# Integers inside and out: a microcontroller has no use for float inputs.
report = tmc.export_litert(
    model, work / "digits.tflite", mode="int8", io_dtype="int8", representative_dataset=x[:200]
)
print(report)
written = export_c_array(work / "digits.tflite", out, name="digits")
print(f"{written.model_bytes:,} B, registers {', '.join(written.methods)}")
if written.arena_bytes:
    print(measure_micro(work / "digits.tflite", x[:50]))
else:
    print("arena not measured: pip install 'tf_metacompress[micro]'")
print("\n".join(written.files))
