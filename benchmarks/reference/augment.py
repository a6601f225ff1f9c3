"""Training examples that are never twice the same: shifted, mirrored, blended.

Papers: Zhang et al. 2018, "mixup", arXiv:1710.09412; Beyer et al. 2022, "Knowledge distillation: a
good teacher is patient and consistent", arXiv:2106.05237, for showing the teacher what the student
sees.
"""

import keras
import numpy as np


def shifted(x, offsets):
    """Moves each example along its first two axes; what comes in repeats the border.

    Args:
        x: Shape (N, H, W, channels).
        offsets: Integers of shape (N, 2).

    Returns:
        The same shape.
    """
    index = np.arange(len(x))
    rows, columns = (
        np.clip(
            np.arange(x.shape[axis + 1]) + offsets[:, axis : axis + 1], 0, x.shape[axis + 1] - 1
        )
        for axis in (0, 1)
    )
    return x[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def blended(x, y, partners, shares):
    """Mixes each example and its one-hot label with another of the batch.

    Args:
        x: Shape (N, ...).
        y: Shape (N, classes).
        partners: Index of the other one, shape (N,).
        shares: What remains of the example itself, shape (N,).

    Returns:
        Both mixed.
    """
    kept = shares.astype(x.dtype)
    wide = kept.reshape(-1, *(1,) * (x.ndim - 1))
    return wide * x + (1 - wide) * x[partners], kept[:, None] * y + (1 - kept[:, None]) * y[
        partners
    ]


class Augmented(keras.utils.PyDataset):
    """Batches of augmented examples with one-hot labels, reproducible by seed.

    Args:
        x: Inputs of shape (N, H, W, channels).
        y: Class indices.
        num_classes: How many classes there are.
        recipe: Batch size and augmentation.
        seed: Seed of everything drawn.
    """

    def __init__(self, x, y, num_classes, recipe, seed):
        super().__init__()
        self.x, self.labels = x, np.eye(num_classes, dtype="float32")[y]
        self.recipe = recipe
        self._generator = np.random.default_rng(seed)
        self._order = self._generator.permutation(len(x))

    def __len__(self):
        """Whole batches in an epoch."""
        return len(self.x) // self.recipe.batch_size

    def __getitem__(self, index):
        """One batch."""
        size, draw = self.recipe.batch_size, self._generator
        rows = self._order[index * size : (index + 1) * size]
        reach = np.array(self.recipe.shift)
        x = shifted(self.x[rows], draw.integers(-reach, reach + 1, size=(size, 2)))
        if self.recipe.mirror:
            turned = draw.random(size) < 0.5
            x[turned] = x[turned, :, ::-1]
        if not self.recipe.blend:
            return x, self.labels[rows]
        shares = np.where(draw.random(size) < self.recipe.blend, draw.uniform(0.5, 1.0, size), 1.0)
        return blended(x, self.labels[rows], draw.permutation(size), shares)

    def on_epoch_end(self):
        """Another order for the next epoch."""
        self._order = self._generator.permutation(len(self.x))
