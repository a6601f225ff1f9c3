"""Every step by hand: read the model, write a policy, train, finalize, export, time."""

import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers
data = load_dataset("digits")
x, y = data.train

model = keras.Sequential(
    [
        keras.Input(data.input_shape),
        layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv1"),
        layers.BatchNormalization(momentum=0.9, name="norm1"),
        layers.ReLU(name="relu1"),
        layers.SeparableConv2D(128, 3, activation="relu", name="separable"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dense(10, activation="softmax", name="head"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=12, verbose=0)

print("the model, as a policy sees it")
for info in tmc.describe(model):
    print(f"  {info.name:10s} {info.kind:20s} {info.num_params:6,d} weights {info.macs:9,d} MACs")

by_hand = tmc.Policy(
    [
        tmc.Rule("conv*", weight_bits=8),
        tmc.Rule("separable", sparsity=0.6, weight_bits=4),
        tmc.Rule("h*", sparsity=0.5, weight_bits=8),
    ],
    name="by hand",
)
by_lamp = tmc.baselines.lamp(model, tmc.Budget(size_ratio=0.2), device="cortex-m")

folder = Path(tempfile.mkdtemp())
paths = [folder / "float32.tflite"]
tmc.export_litert(model, paths[0])
for policy in (by_hand, by_lamp):
    student = tmc.compress(model, policy)
    student.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    pruning = tmc.callbacks.PruningSchedule(begin_step=0, end_step=100, frequency=20)
    sparsity = tmc.callbacks.SparsityLogger(per_layer=False)
    history = student.fit(x, y, epochs=6, callbacks=[pruning, sparsity], verbose=0).history
    final = tmc.finalize(student)
    paths.append(folder / f"{policy.name.replace(' ', '_')}.tflite")
    report = tmc.export_litert(final, paths[-1], mode="int8", representative_dataset=x[:200])
    print(f"\n{policy.name}: {history['sparsity'][-1]:.0%} zeros at the end of training")
    print(report)

print("\n" + str(tmc.compare(paths)))
