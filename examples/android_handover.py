"""A trained model as a folder for an Android app: `python android_handover.py [DIR]`.

DIR becomes a Gradle module: the model with its labels and normalisation inside, the Kotlin class
that runs it on raw pixels, and a test for a connected phone. Its README says how to go on.
Writing it needs nothing but this package; building it needs Gradle and the Android SDK.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import tf_metacompress as tmc
from tf_metacompress.deploy import LitertModel, ModelMetadata, Normalization, bundle_android
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
work = Path(tempfile.mkdtemp())
out = sys.argv[1] if len(sys.argv) > 1 else work / "handover"
x, y = load_dataset("digits").train

model = keras.Sequential(
    [
        keras.Input((8, 8, 1), name="image"),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(x, y, epochs=4, verbose=0)
model.save(work / "digits.keras")
tmc.export_litert(model, work / "digits.tflite", mode="int8", representative_dataset=x[:200])

# The app has pixels from 0 to 16; the model was trained on 0 to 1.
(name,) = LitertModel.open(work / "digits.tflite").input_names
metadata = ModelMetadata(
    labels=tuple(f"digit {number}" for number in range(10)),
    normalization={name: Normalization(mean=(0.0,), std=(16.0,))},
    softmax=True,
    source="digits.keras",
)
sample = {name: np.round(x[:1] * 16)}
report = bundle_android(
    work / "digits.tflite", out, metadata=metadata, package="org.example.digits", sample=sample
)
print(report)
