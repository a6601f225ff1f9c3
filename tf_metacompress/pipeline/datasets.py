"""Image and feature data sets by name, or from the user's own file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tf_metacompress.errors import CorruptFileError, check_choice, invalid
from tf_metacompress.tasks import check_arrays
from tf_metacompress.typing import ArrayPair

KERAS_DATASETS = ("fashion_mnist", "mnist", "cifar10")
DATASETS = ("digits", *KERAS_DATASETS)
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_LARGEST_LABEL = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled examples, split.

    Attributes:
        name: What the report calls it.
        train: Inputs, float32 (N, ...), and class indices, int64 (N,).
        test: The same, not seen in training.
    """

    name: str
    train: ArrayPair
    test: ArrayPair

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train[0].shape[1:]

    @property
    def num_classes(self) -> int:
        """Number of classes, the largest label and one."""
        return int(max(self.train[1].max(), self.test[1].max())) + 1

    def fingerprint(self) -> str:
        """Name and a short hash of the contents."""
        digest = hashlib.sha256()
        for array in (*self.train, *self.test):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return f"{self.name}-{digest.hexdigest()[:12]}"


def _labels(y: np.ndarray) -> np.ndarray:
    return np.asarray(y).reshape(-1).astype(np.int64)


def _images(x: np.ndarray, largest: float) -> np.ndarray:
    x = np.asarray(x, np.float32) / np.float32(largest)
    return x[..., None] if x.ndim == 3 else x


def _digits() -> Dataset:
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        _images(digits.images, 16.0),
        _labels(digits.target),
        test_size=0.2,
        random_state=0,
        stratify=digits.target,
    )
    return Dataset("digits", (x_train, y_train), (x_test, y_test))


def _keras_dataset(name: str) -> Dataset:
    loader = getattr(keras.datasets, name)
    try:
        (x_train, y_train), (x_test, y_test) = loader.load_data()
    except Exception as error:
        # Keras raises a bare Exception when a download fails.
        reason = " ".join(str(error).split()).rstrip(".")
        raise invalid(
            f"The data set could not be loaded: {reason}.",
            "Connect to the network once, set KERAS_HOME to where it lies, or use --dataset "
            "digits, which needs no network.",
            dataset=name,
        ) from error
    train = (_images(x_train, 255.0), _labels(y_train))
    return Dataset(name, train, (_images(x_test, 255.0), _labels(y_test)))


def load_npz(path: str | Path) -> Dataset:
    """Reads a data set of the user's own.

    Args:
        path: An .npz file with x_train, y_train, x_test and y_test. Inputs are taken as they are;
            labels are class indices.

    Returns:
        The data set.

    Raises:
        CorruptFileError: If it is not a readable .npz file.
        InvalidArgumentError: If an array is missing, empty, not finite, or does not fit.
    """
    arrays = _read_arrays(path)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise invalid(
            "A data file must hold the arrays x_train, y_train, x_test and y_test.",
            missing=missing,
            path=str(path),
        )
    train, test = (
        _checked_part(part, arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")
    )
    if train[0].shape[1:] != test[0].shape[1:]:
        raise invalid(
            "Training and test inputs must have the same shape but for the first axis.",
            x_train=train[0].shape,
            x_test=test[0].shape,
        )
    return Dataset(Path(path).stem, train, test)


def _read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise invalid("There is no such data file.", path=str(path))
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in _ARRAYS if name in file.files}
    except Exception as error:
        # A damaged archive raises errors of zipfile, zlib, ast and struct as well as its own.
        reason = " ".join(str(error).split()).rstrip(".")
        raise CorruptFileError(
            f"This is not a readable .npz file ({reason}). Received: path={str(path)!r}. "
            "Write one with numpy.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)."
        ) from error


def _checked_part(part: str, x: np.ndarray, y: np.ndarray) -> ArrayPair:
    x, y = check_arrays(part, x, y)
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "fiub":
            raise invalid(f"{name}_{part} must hold real numbers.", dtype=str(array.dtype))
    largest = np.abs(x).max(initial=0)
    if largest > np.finfo(np.float32).max:
        raise invalid(
            f"x_{part} must fit into float32.", "Scale the inputs.", largest=float(largest)
        )
    if y.size != len(y) or (y != np.round(y.astype(np.float64))).any() or y.min() < 0:
        raise invalid(
            f"y_{part} must hold one class index, 0 or above, an example.",
            "For one-hot rows pass y.argmax(axis=1).",
            shape=y.shape,
            smallest=y.min().item(),
            dtype=str(y.dtype),
        )
    if y.max() > _LARGEST_LABEL:
        raise invalid(f"y_{part} must hold class indices.", largest=y.max().item())
    return x.astype(np.float32), _labels(y)


def load_dataset(name: str) -> Dataset:
    """Loads a data set by name.

    Args:
        name: "digits" (8×8 scans that come with scikit-learn), or "fashion_mnist", "mnist" or
            "cifar10" of `keras.datasets`, which downloads them once. Inputs in [0, 1].

    Returns:
        The data set.

    Raises:
        InvalidArgumentError: If there is none of that name, or it cannot be downloaded.
    """
    check_choice("dataset", name, DATASETS)
    return _digits() if name == "digits" else _keras_dataset(name)
