"""One sampler of each kind, and a fingerprint of the tasks that it draws."""

import hashlib

import numpy as np

from tf_metacompress.tasks import (
    ClassArrays,
    ClassSubset,
    Contrast,
    DatasetTasks,
    Noise,
    NWayKShot,
    Polynomials,
    RotatedClasses,
    Rotation,
    Sinusoid,
    VariantTasks,
    split_classes,
)

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((60, 6, 6, 1), np.float32)
Y = np.arange(60) % 6
SHIFT = (Rotation(degrees=30.0), Contrast(lower=0.5, upper=0.9), Noise(stddev=0.1))


class Pairs:
    """As much of a tf.data.Dataset as is read."""

    def __init__(self, pairs, cardinality=None):
        self.pairs = pairs
        if cardinality is not None:
            self.cardinality = lambda: cardinality

    def as_numpy_iterator(self):
        return iter(self.pairs)


def make_samplers():
    turned = RotatedClasses(ClassArrays(X, Y))
    train, _ = split_classes(turned, test_fraction=0.3, seed=1)
    return {
        "n-way": NWayKShot(ClassArrays(X, Y), 5, 1, 4, seed=3),
        "turned and altered": NWayKShot(train, 5, 2, 3, augment=SHIFT),
        "sinusoid": Sinusoid(seed=2),
        "polynomials": Polynomials(degree=3),
        "variants": VariantTasks(X, Y, 6, 9, (ClassSubset(num_ways=3), *SHIFT), seed=5),
        "targets": VariantTasks(X, Y / 6.0, 6, 9, SHIFT),
        "dataset": DatasetTasks(Pairs(list(zip(X, Y, strict=True))), 6, 12),
    }


def digest(task):
    """A fingerprint of all that a task holds."""
    made = hashlib.sha256(repr(task.classes).encode())
    for array in (*task.support, *task.query, *(task.rows or ())):
        made.update(f"{array.dtype}{array.shape}".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


def digests():
    return {name: [digest(made(i)) for i in (0, 7)] for name, made in make_samplers().items()}
