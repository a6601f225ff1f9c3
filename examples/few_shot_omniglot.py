"""A network that learns new characters from one example of each, while it is int8 already.

    python examples/few_shot_omniglot.py --data FOLDER   # images_background_small1.zip, …2.zip

Without `--data` it learns from the turned digits of scikit-learn: seven digits to learn from, three
others to be tested on. Omniglot: github.com/brendenlake/omniglot.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import tf_metacompress as tmc

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
parser.add_argument("--meta-steps", type=int, default=300)
arguments = parser.parse_args()

if arguments.data is None:
    digits = load_digits()
    images = tmc.tasks.ClassArrays(digits.images[..., None].astype("float32") / 16, digits.target)
    train, test = tmc.tasks.split_classes(images, test_groups=["7", "8", "9"])
    test = tmc.tasks.RotatedClasses(test)
else:
    zips = sorted(arguments.data.glob("images_background_small*.zip"))
    images = tmc.tasks.ImageFolder(zips, size=(28, 28), invert=True)
    train, test = tmc.tasks.split_classes(
        images, test_groups=["Korean"], group_of=lambda name: name.split("/")[0]
    )
train = tmc.tasks.RotatedClasses(train)  # a turned character is a class of its own
learn_from = tmc.tasks.NWayKShot(train, num_ways=5, num_shots=1, num_queries=5, seed=1)
test_on = tmc.tasks.NWayKShot(test, num_ways=5, num_shots=1, seed=2)

model = keras.Sequential([keras.Input(test_on(0).support[0].shape[1:])])
for _ in range(3):
    model.add(keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.ReLU())
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(5))

# Every loss, of adaptation and after it, is that of the int8 network.
learner = tmc.meta.MAML(
    model, inner_lr=0.4, batch_norm="support", policy=tmc.Policy([tmc.Rule("*", weight_bits=8)])
)
learner.compile(keras.optimizers.Adam(0.01))
print("before meta-training:", learner.calibrate(learn_from).evaluate(test_on, num_tasks=100))
learner.fit(learn_from, meta_steps=arguments.meta_steps)
print("after meta-training: ", learner.evaluate(test_on, num_tasks=100))

task = test_on(1000)
learner.adapt(task.support)  # the first call compiles
start = time.perf_counter()
adapted = learner.adapt(task.support)
seconds = time.perf_counter() - start
accuracy = np.mean(adapted.predict(task.query[0], verbose=0).argmax(1) == task.query[1])
print(f"adapted to {task.classes} in {seconds:.2f} s: accuracy {accuracy:.3f} on 75 queries")
report = tmc.export_litert(
    adapted, "characters.tflite", mode="int8", representative_dataset=task.support[0]
)
print(report)
