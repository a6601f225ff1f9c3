"""A motion sensor that is worn in another way: one example of each activity is enough to adapt.

    python examples/few_shot_gestures.py --data basic_motions_ucr.zip   # BasicMotions, UCR archive

Six channels of an accelerometer and a gyroscope, four activities. A task is a way of wearing the
sensor: all axes turned in space. Without `--data` the motions are made up.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from scipy.spatial.transform import Rotation

import tf_metacompress as tmc

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
parser.add_argument("--meta-steps", type=int, default=400)
arguments = parser.parse_args()


def made_up(seed, num_series=40):
    """Four motions that differ in their rhythm and in which axes they move."""
    generator = np.random.default_rng(seed)
    y = np.arange(num_series) % 4
    time = np.arange(100)[:, None]
    axes = np.random.default_rng(0).normal(size=(4, 6))
    rates = np.array([0.0, 0.2, 0.45, 0.8])[y] * generator.uniform(0.9, 1.1, num_series)
    phases = generator.uniform(0, 2 * np.pi, num_series)
    waves = np.sin(rates[:, None, None] * time + phases[:, None, None]) * axes[y][:, None]
    return (waves + generator.normal(0, 0.3, waves.shape)).astype("float32"), y


def worn(x, y, seed):
    """Turns accelerometer and gyroscope in space, the same for all examples of a task."""
    turn = Rotation.random(random_state=seed).as_matrix().astype("float32")
    return np.concatenate([x[..., :3] @ turn, x[..., 3:] @ turn], -1), y


if arguments.data is None:
    (x, y), (x_test, y_test) = made_up(1), made_up(2)
else:
    x, y, names = tmc.tasks.load_ts(arguments.data, "BasicMotions_TRAIN.ts")
    x_test, y_test, _ = tmc.tasks.load_ts(arguments.data, "BasicMotions_TEST.ts")
scale = np.std(x, axis=(0, 1))
ways_to_learn = tmc.tasks.VariantTasks(x / scale, y, 4, 36, variants=(worn,), seed=1)
new_ways = tmc.tasks.VariantTasks(x_test / scale, y_test, 4, 36, variants=(worn,), seed=2)

layers = keras.layers
model = keras.Sequential(
    [
        keras.Input((100, 6)),
        layers.Conv1D(32, 5, strides=2, padding="same", activation="relu"),
        layers.Conv1D(32, 5, strides=2, padding="same", activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(4),
    ]
)
policy = tmc.Policy([tmc.Rule("*", weight_bits=8, sparsity=0.5)])
learner = tmc.meta.MetaSGD(model, inner_steps=3, inner_lr=0.1, policy=policy)
learner.compile(keras.optimizers.Adam(0.003))
learner.fit(ways_to_learn, meta_steps=arguments.meta_steps)

frozen = learner.evaluate(new_ways, num_tasks=100, inner_steps=1)
print("after one inner step:   ", frozen)
print("after three inner steps:", learner.evaluate(new_ways, num_tasks=100))

task = new_ways(1000)
adapted = learner.adapt(task.support)
print(tmc.summary(model, policy))
report = tmc.export_litert(
    adapted, "gestures.tflite", mode="int8", representative_dataset=task.support[0]
)
print(report)
