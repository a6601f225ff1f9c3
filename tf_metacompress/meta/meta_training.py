"""Meta-training of Φ step by step, from a state that can be saved and gone on from exactly."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.atomic import atomic_path
from tf_metacompress.errors import CorruptFileError, check_int, check_positive, invalid
from tf_metacompress.meta.inner_loop import Tensors
from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.outer_loop import MetaState, meta_step
from tf_metacompress.meta.outer_optimizer import OuterOptimizer


@dataclass(frozen=True, kw_only=True)
class Outer:
    """How the outer loop steps.

    Attributes:
        meta_batch_size: Tasks of a meta-step.
        meta_lr: Learning rate of the outer Adam.
        batch_size: Examples drawn from support and query in each step.
        seed: Seed of the tasks and the examples drawn.

    Raises:
        InvalidArgumentError: If a value is out of its range.
    """

    meta_batch_size: int = 4
    meta_lr: float = 3e-3
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("meta_batch_size", self.meta_batch_size, minimum=1)
        check_int("batch_size", self.batch_size, minimum=1)
        check_positive("meta_lr", self.meta_lr)
        check_int("seed", self.seed, minimum=0)


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """All that the next meta-step depends on beside the tasks.

    Attributes:
        meta: Φ, the state of the optimizer, and the number of steps taken.
        generator: State of the generator that draws tasks and examples.
    """

    meta: MetaState
    generator: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Writes it to one .npz file, whole or not at all.

        Args:
            path: File to write.
        """
        arrays = [np.asarray(t) for t in (*self.meta.phi, *self.meta.optimizer)]
        header = {
            "num_phi": len(self.meta.phi),
            "meta_step": self.meta.meta_step,
            "generator": self.generator,
        }
        text = json.dumps({**header, "sha256": _digest(header, arrays)})
        named = {f"array_{index}": array for index, array in enumerate(arrays)}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, header=np.frombuffer(text.encode(), np.uint8), **named)

    @classmethod
    def load(cls, path: str | Path) -> "TrainingState":
        """Reads a state.

        Args:
            path: A file that `save` wrote.

        Returns:
            The state, equal to the last bit.

        Raises:
            CorruptFileError: When the file is damaged or was changed.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                arrays = [file[f"array_{index}"] for index in range(len(file.files) - 1)]
            checksum, num_phi = header.pop("sha256"), header["num_phi"]
        except Exception as error:  # a damaged archive fails in a dozen ways
            raise _corrupt(path, str(error)) from error
        if checksum != _digest(header, arrays):
            raise _corrupt(path, "the contents do not match the checksum")
        tensors = tuple(tf.constant(array) for array in arrays)
        meta = MetaState(tensors[:num_phi], tensors[num_phi:], header["meta_step"])
        return cls(meta=meta, generator=header["generator"])


def _digest(header: dict[str, Any], arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()


def _corrupt(path: str | Path, reason: str) -> CorruptFileError:
    return CorruptFileError(
        f"This is not a readable state of meta-training ({reason}). "
        f"Received: path={str(path)!r}. Remove it to begin anew."
    )


class MetaTraining:
    """Second-order MAML of Φ over tasks, one meta-step at a time.

    Args:
        prepared: Tasks to learn from, each in one or several forms.
        phi: Weights of Φ to begin with.
        outer: How the outer loop steps.

    Raises:
        InvalidArgumentError: When there are no tasks.
    """

    def __init__(
        self, prepared: Sequence[Sequence[PreparedTask]], phi: Tensors, outer: Outer
    ) -> None:
        if not prepared:
            raise invalid("`tasks` must hold at least one Task.", tasks=prepared)
        self.outer = outer
        self._prepared = tuple(prepared)
        self._optimizer = OuterOptimizer(keras.optimizers.Adam(outer.meta_lr), phi)
        self._meta = MetaState(tuple(phi), self._optimizer.init())
        self._generator = np.random.default_rng(outer.seed)

    @property
    def phi(self) -> Tensors:
        """Weights of Φ now."""
        return self._meta.phi

    @property
    def state(self) -> TrainingState:
        """All that the next step depends on."""
        return TrainingState(meta=self._meta, generator=self._generator.bit_generator.state)

    def restore(self, state: TrainingState) -> None:
        """Goes on from a state as if it had never been left.

        Args:
            state: A state of training with the same tasks and the same `Outer`.

        Raises:
            InvalidArgumentError: If it belongs to another Φ.
        """
        own, given = self._optimizer.init(), state.meta
        shapes = [[t.shape for t in tensors] for tensors in (self.phi, own)]
        if [[t.shape for t in tensors] for tensors in (given.phi, given.optimizer)] != shapes:
            raise invalid(
                "The state belongs to another Φ.",
                "Begin anew, or make the compressor as it was.",
                shapes=[tuple(t.shape) for t in given.phi],
            )
        self._meta = given
        self._generator.bit_generator.state = state.generator

    def step(self) -> dict[str, float]:
        """Takes one meta-step.

        Returns:
            support_loss, query_loss and gradient_norm.

        Raises:
            NonFiniteLossError: When a loss becomes infinite or NaN; the state stays as it was.
        """
        size = self.outer.meta_batch_size
        chosen = self._generator.integers(len(self._prepared), size=size)
        fns = [self._gradient_fn(self._prepared[i]) for i in chosen]
        self._meta, metrics = meta_step(self._meta, self._optimizer, fns, clip_norm=1.0)
        return metrics

    def _gradient_fn(self, forms: Sequence[PreparedTask]) -> Callable:
        task = forms[self._generator.integers(len(forms))]
        batch = task.draw(self.outer.batch_size, self._generator)
        return lambda phi: task.gradient(phi, batch)
