"""One descriptor for every kind of model a user may have; `test_model_kinds.py` walks them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

NUM_CLASSES = 3
NUM_SAMPLES = 16


def class_loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """How to make a model of one kind, and what compression must do with it.

    Attributes:
        make: Gives a new built model whose weights are not at rest.
        inputs: What the model takes, for a number of samples.
        compressed: Paths of the layers that must be compressed.
        left: Classes of layers with weights that must be left in float and reported.
        targets: Labels in the structure of the outputs, for a number of samples.
        loss: Makes the loss, in the structure of the outputs.
        looped: Compressed layers that the int8 file computes in a loop, on real numbers.
        lost: Compressed layers of whose kernels no constant in the file can be recognised.
        stays_float: Compressed layers for whose operator the runtime has no int8 kernel, to it.
        slow: Left out of the fast tests: it takes long, or others there are much alike.
    """

    make: Callable[[], keras.Model]
    inputs: Callable[[int], Any]
    compressed: tuple[str, ...]
    left: tuple[str, ...] = ()
    targets: Callable[[int], Any] = lambda count: np.arange(count) % NUM_CLASSES
    loss: Callable[[], Any] = class_loss
    looped: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    stays_float: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


KINDS: dict[str, ModelKind] = {}


def register(name: str, **fields: Any) -> Callable[[Callable], Callable]:
    """Registers the decorated function, which makes a model, as a kind."""

    def add(make: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        KINDS[name] = ModelKind(make=make, **fields)
        return make

    return add


def arrays(*shape: int, seed: int = 0) -> Callable[[int], np.ndarray]:
    """Gives standard normal inputs of a shape."""

    def make(count: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")

    return make


def tokens(length: int, vocabulary: int, seed: int = 0) -> Callable[[int], np.ndarray]:
    """Gives sequences of whole numbers below `vocabulary`."""

    def make(count: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, vocabulary, (count, length)).astype("int32")

    return make


def structure(**parts: Callable[[int], np.ndarray]) -> Callable[[int], dict[str, np.ndarray]]:
    """Gives several inputs by name."""
    return lambda count: {name: part(count) for name, part in parts.items()}


def sequence_of(*parts: Callable[[int], np.ndarray]) -> Callable[[int], list[np.ndarray]]:
    """Gives several inputs in order."""
    return lambda count: [part(count) for part in parts]


def add_every_kind() -> None:
    """Imports the modules that register kinds."""
    from tests.conformance import (  # noqa: F401
        kinds_of_composition,
        kinds_of_convolution,
        kinds_of_custom,
        kinds_of_sequence,
    )
