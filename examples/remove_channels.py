"""Channels removed for real: silenced together while training, cut out at the end, timed."""

import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
data = load_dataset("digits")
(x, y), (x_test, y_test) = data.train, data.test


def convolution(inputs, filters, name):
    """A convolution, its normalisation, and nothing else."""
    result = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(inputs)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(result)


inputs = keras.Input(data.input_shape)
stem = layers.ReLU(name="stem_relu")(convolution(inputs, 64, "stem"))
branch = layers.ReLU(name="relu1")(convolution(stem, 64, "conv1"))
branch = convolution(branch, 64, "conv2")
joined = layers.ReLU(name="join_relu")(layers.Add(name="join")([stem, branch]))
outputs = layers.Dense(10, name="head")(layers.GlobalAveragePooling2D(name="pool")(joined))
model = keras.Model(inputs, outputs)

loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(x, y, epochs=8, verbose=0)

policy = tmc.Policy([tmc.Rule("*conv*", pattern="channel", sparsity=0.5, weight_bits=8)])
student = tmc.compress(model, policy, device="x86-host")
student.compile("adam", loss, metrics=["accuracy"])
pruning = tmc.callbacks.PruningSchedule(begin_step=0, end_step=100, frequency=10)
student.fit(x, y, epochs=6, callbacks=[pruning], verbose=0)
smaller = tmc.finalize(student)

folder = Path(tempfile.mkdtemp())
paths = [folder / "whole.tflite", folder / "smaller.tflite"]
for network, path in zip((model, smaller), paths, strict=True):
    network.compile(loss=loss, metrics=["accuracy"])
    tmc.export_litert(network, path, mode="int8", representative_dataset=x[:200])
    accuracy = network.evaluate(x_test, y_test, verbose=0)[1]
    macs = sum(info.macs for info in tmc.describe(network))
    print(f"{path.stem:8s} {network.count_params():7,d} weights {macs:10,d} MACs {accuracy:.3f}")
print(tmc.compare(paths))
