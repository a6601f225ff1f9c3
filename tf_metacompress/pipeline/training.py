"""Ordinary Keras training with a fixed number of steps and a progress bar."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tf_metacompress.anatomy import classification_loss
from tf_metacompress.typing import ArrayPair

BATCH_SIZE = 64


class StepBar(keras.callbacks.Callback):
    """A bar over all steps of a `fit`, with the time left, instead of one line an epoch."""

    def __init__(self, description: str, quiet: bool) -> None:
        super().__init__()
        self.description = description
        self.quiet = quiet
        self._bar: tqdm | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar."""
        total = self.params["epochs"] * (self.params["steps"] or 0)
        disable = True if self.quiet else None
        self._bar = tqdm(total=total or None, desc=self.description, leave=False, disable=disable)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        self._bar.update()

    def close(self) -> None:
        """Takes the bar away, also when training was interrupted."""
        if self._bar is not None:
            self._bar.close()


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    Attributes:
        num_steps: About how many steps to take; whole epochs where there are several.
        learning_rate: Where the rate begins; it ends at a hundredth.
        quiet: Without a progress bar.
    """

    num_steps: int
    learning_rate: float
    quiet: bool = False


def epochs_for(num_steps: int, num_examples: int) -> int:
    """Epochs that make about a number of steps, at least one."""
    return max(round(num_steps / math.ceil(num_examples / BATCH_SIZE)), 1)


def train(
    model: keras.Model,
    data: ArrayPair,
    training: Training,
    *,
    description: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    loss: Any = None,
) -> keras.Model:
    """Compiles and fits a classifier with Adam and a cosine-decayed learning rate.

    Args:
        model: A classifier; trained in place.
        data: Inputs and class indices. Where the steps do not get through all of them, as many
            as they need are drawn at random.
        training: How many steps, and how fast.
        description: Words before the progress bar.
        callbacks: Further callbacks.
        loss: Loss; None for the cross-entropy that fits the model's outputs.

    Returns:
        The same model.
    """
    x, y = data
    wanted = training.num_steps * BATCH_SIZE
    if wanted < len(x):
        rows = np.random.default_rng(0).permutation(len(x))[:wanted]
        x, y = x[rows], y[rows]
    epochs = epochs_for(training.num_steps, len(x))
    steps = epochs * math.ceil(len(x) / BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(training.learning_rate, steps, alpha=0.01)
    model.compile(
        keras.optimizers.Adam(rate), loss or classification_loss(model), metrics=["accuracy"]
    )
    bar = StepBar(description, training.quiet)
    with contextlib.closing(bar):
        model.fit(
            x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[*callbacks, bar]
        )
    return model
