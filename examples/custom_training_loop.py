"""A hand-written training loop: the controller does what the callbacks do in `fit`."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

EPOCHS, BATCH_SIZE = 6, 64
layers = keras.layers
data = load_dataset("digits")
(x, y), (x_test, y_test) = data.train, data.test

model = keras.Sequential(
    [
        keras.Input(data.input_shape),
        layers.Conv2D(32, 3, activation="relu", name="conv1"),
        layers.Conv2D(32, 3, activation="relu", name="conv2"),
        layers.Flatten(name="flat"),
        layers.Dense(10, name="head"),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss)
model.fit(x, y, epochs=8, verbose=0)

policy = tmc.Policy(
    [
        tmc.Rule("conv*", sparsity=0.7, weight_bits=8),
        tmc.Rule("head", pattern="2:4", weight_bits=4),
    ]
)
student = tmc.compress(model, policy)
optimizer = keras.optimizers.Adam(1e-3)
batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(BATCH_SIZE)
schedule = tmc.schedules.PolynomialSparsity(end_step=len(batches) * EPOCHS // 2, frequency=10)
controller = tmc.PruningController(student.compressors, schedule)


@tf.function
def train_step(images, labels):
    """One step; nothing in it knows of compression."""
    with tf.GradientTape() as tape:
        value = loss(labels, student(images, training=True))
    variables = student.trainable_variables
    optimizer.apply(tape.gradient(value, [v.value for v in variables]), variables)
    return value


controller.on_train_begin()
step = 0
for epoch in range(EPOCHS):
    for images, labels in batches:
        controller.on_step(step)
        value = train_step(images, labels)
        step += 1
    print(f"epoch {epoch}: loss {float(value):.3f}")
controller.finalize()

final = tmc.finalize(student)
accuracy = np.mean(final.predict(x_test, verbose=0).argmax(1) == y_test)
print(f"accuracy on the test images {accuracy:.3f}")
path = Path(tempfile.mkdtemp()) / "model.tflite"
print(tmc.export_litert(student, path, mode="int8", representative_dataset=x[:200]))
