"""For those who cannot train: ranges and biases from a few hundred inputs, no labels."""

import tempfile
from pathlib import Path

import keras
import numpy as np

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
data = load_dataset("digits")
(x, y), (x_test, y_test) = data.train, data.test

model = keras.Sequential(
    [
        keras.Input(data.input_shape),
        layers.Conv2D(16, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.DepthwiseConv2D(3, activation="relu", name="depthwise"),
        layers.Flatten(name="flat"),
        layers.Dense(10, name="head"),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(x, y, epochs=12, verbose=0)


def accuracy(network):
    """Share of the test images that a model names correctly."""
    return np.mean(network.predict(x_test, verbose=0).argmax(1) == y_test)


print(f"float32           {accuracy(model):.3f}")
for bits in (8, 4, 3):
    policy = tmc.Policy([tmc.Rule("*", weight_bits=bits)])
    for correction in (False, True):
        student = tmc.compress(model, policy)
        tmc.calibrate(student, x[:300], range_setting="mse", bias_correction=correction)
        words = "biases corrected" if correction else "ranges only"
        print(f"{bits} bits, {words:16s} {accuracy(student):.3f}")

student = tmc.compress(model, tmc.Policy([tmc.Rule("*", weight_bits=8)]))
tmc.calibrate(student, x[:300])
path = Path(tempfile.mkdtemp()) / "model.tflite"
print(tmc.export_litert(student, path, mode="int8", representative_dataset=x[:300]))
