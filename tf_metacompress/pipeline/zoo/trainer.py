"""Trains one model of the zoo in whatever process, and hands it back as bytes."""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.pipeline.zoo.families import build, count_macs
from tf_metacompress.pipeline.zoo.recipes import Entry, Shares

_LEARNING_RATE = 3e-3
_GOOD_ENOUGH = 0.995
_ABOVE_CHANCE = 3.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of a trained model beside its weights.

    Attributes:
        entry: What it is.
        data: Fingerprint of its source.
        train_steps: Most steps it was trained for.
        accuracy: On the query examples.
        least_accuracy: What it takes to count as learned.
        num_params: Its parameters.
        macs: Its multiply-accumulates.
        seconds: How long building and training took.
    """

    entry: Entry
    data: str
    train_steps: int
    accuracy: float
    least_accuracy: float
    num_params: int
    macs: int
    seconds: float

    @property
    def learned(self) -> bool:
        """Whether it learned enough for its compression to mean anything."""
        return self.accuracy >= self.least_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Gives it as JSON data."""
        return {**asdict(self), "learned": self.learned}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Record":
        """Reads what `to_dict` gave."""
        kept = {key: value for key, value in data.items() if key != "learned"}
        return cls(**{**kept, "entry": Entry(**data["entry"])})


class _StopWhenGood(keras.callbacks.Callback):
    """Ends training once the training accuracy of an epoch leaves nothing to learn."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the accuracy."""
        if (logs or {}).get("accuracy", 0.0) >= _GOOD_ENOUGH:
            self.model.stop_training = True


def least_accuracy(num_classes: int) -> float:
    """Accuracy from which a model counts as learned: three times chance, or half the way to 1.

    Args:
        num_classes: Classes in the examples.

    Returns:
        A share.

    Example:
        >>> round(least_accuracy(10), 3), least_accuracy(2)
        (0.3, 0.75)
    """
    chance = 1.0 / num_classes
    return min(_ABOVE_CHANCE * chance, (1.0 + chance) / 2.0)


def train_entry(
    entry: Entry, shares: Shares, data: str, train_steps: int, num_threads: int
) -> tuple[bytes, Record]:
    """Builds and trains one model.

    Args:
        entry: What it is.
        shares: Its examples.
        data: Fingerprint of its source.
        train_steps: Most steps.
        num_threads: Threads of TensorFlow in this process; 0 to leave them as they are.

    Returns:
        The model as the bytes of a .keras file, and its record.
    """
    limit_threads(num_threads)
    begin = time.perf_counter()
    x, y = shares.train
    model = build(entry.family, x.shape[1:], shares.num_classes, entry.architecture)
    keras.utils.set_random_seed(entry.seed)
    train(
        model,
        (x, y),
        Training(num_steps=train_steps, learning_rate=_LEARNING_RATE, quiet=True),
        description=entry.name,
        callbacks=[_StopWhenGood()],
    )
    predicted = np.argmax(model(shares.query[0], training=False), axis=-1)
    record = Record(
        entry=entry,
        data=data,
        train_steps=train_steps,
        accuracy=float(np.mean(predicted == shares.query[1])),
        least_accuracy=least_accuracy(len(np.unique(y))),
        num_params=model.count_params(),
        macs=count_macs(model),
        seconds=time.perf_counter() - begin,
    )
    content = stored(model)
    keras.backend.clear_session()
    return content, record


def stored(model: keras.Model) -> bytes:
    """Gives a model as the bytes of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def limit_threads(num_threads: int) -> None:
    """Limits TensorFlow once, before its first operation; a worker is asked again and again.

    Args:
        num_threads: Threads, 0 for no limit.
    """
    threading = tf.config.threading
    if num_threads and threading.get_intra_op_parallelism_threads() != num_threads:
        threading.set_intra_op_parallelism_threads(num_threads)
        threading.set_inter_op_parallelism_threads(num_threads)
