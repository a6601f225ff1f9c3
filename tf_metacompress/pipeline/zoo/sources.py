"""Where the examples of the zoo come from: data sets at hand, and files that the user names."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tf_metacompress.errors import CorruptFileError, invalid
from tf_metacompress.pipeline.datasets import (
    KERAS_DATASETS,
    Dataset,
    load_dataset,
    load_npz,
)
from tf_metacompress.pipeline.zoo.split import split_of_source
from tf_metacompress.tasks import load_ts

BASIC_MOTIONS = "basic_motions"
SERIES_OF_DIGITS = "digits_rows"
SUFFIXES = (".npz", ".zip")
_CACHED = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/train-images-idx3-ubyte.gz",
    "cifar10": "cifar-10-batches-py*/**/data_batch_1",
}
_LARGEST_PIXEL = 255.0
_UNIT = 2.0


def keras_folder() -> Path:
    """The folder that `keras.datasets` keeps its downloads in."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def sources_at_hand() -> tuple[str, ...]:
    """Names the sources that need neither a file nor the network.

    Returns:
        The digits, as images and as series of rows, and those that Keras has downloaded before.
    """
    folder = keras_folder()
    found = [name for name in KERAS_DATASETS if any(folder.glob(_CACHED[name]))]
    return ("digits", SERIES_OF_DIGITS, *found)


def check_files(files: Mapping[str, str | Path]) -> None:
    """Checks files by name and suffix, before any is read.

    Args:
        files: Name of a source to its file.

    Raises:
        InvalidArgumentError: If a file does not exist or cannot be one of a data set.
    """
    for name, path in files.items():
        if not Path(path).is_file():
            raise invalid("There is no such data file.", source=name, path=str(path))
        if Path(path).suffix not in SUFFIXES:
            raise invalid(
                "A data file must be an .npz file, or a .zip file of two .ts files.",
                source=name,
                path=str(path),
            )


def load_source(name: str, path: str | Path | None = None) -> Dataset:
    """Loads one source.

    Args:
        name: "digits", "digits_rows", "mnist", "fashion_mnist" or "cifar10"; any name with a file.
        path: An .npz file as `load_npz` reads it, or a .zip file with one .ts file that ends in
            TRAIN and one that ends in TEST; None for what is at hand.

    Returns:
        Images of shape (N, H, W, C) or series of shape (N, steps, channels), inputs of order one.

    Raises:
        InvalidArgumentError: If there is no such source, or the file lacks something.
        CorruptFileError: If the file cannot be read.
    """
    if path is not None:
        check_files({name: path})
        loaded = _load_series(path) if Path(path).suffix == ".zip" else load_npz(path)
        return _prepared(name, loaded)
    if name == SERIES_OF_DIGITS:
        return _rows(load_dataset("digits"))
    if name not in sources_at_hand():
        raise invalid(
            "This source is not at hand.",
            f"Name its file, {name}=FILE, or have keras.datasets download it once.",
            source=name,
            at_hand=sources_at_hand(),
        )
    return load_dataset(name)


def meta_train_sources(files: Mapping[str, str | Path] | None = None) -> dict[str, Dataset]:
    """Loads what is meta-trained on: all that is at hand, and the files that the user names.

    Args:
        files: Name of a source to its file.

    Returns:
        Name to data, none of it of the meta-test split.
    """
    files = dict(files or {})
    names = dict.fromkeys((*sources_at_hand(), *files))
    return {
        name: load_source(name, files.get(name))
        for name in names
        if split_of_source(name) == "train"
    }


def _rows(data: Dataset) -> Dataset:
    """Reads each image row by row, so that 1-D networks have something to learn without a file."""
    train, test = ((x.reshape(len(x), x.shape[1], -1), y) for x, y in (data.train, data.test))
    return Dataset(SERIES_OF_DIGITS, train, test)


def _prepared(name: str, data: Dataset) -> Dataset:
    """Brings raw pixels into [0, 1] and series to unit variance; grey images get their channel."""
    (x, y), (x_test, y_test) = data.train, data.test
    if name in KERAS_DATASETS and x.ndim == 3:
        x, x_test = x[..., None], x_test[..., None]
    if x.ndim == 4 and np.abs(x).max() > _UNIT:
        x, x_test = x / _LARGEST_PIXEL, x_test / _LARGEST_PIXEL
    if x.ndim == 3:
        mean, std = x.mean(axis=(0, 1)), x.std(axis=(0, 1)) + 1e-6
        x, x_test = (x - mean) / std, (x_test - mean) / std
    if x.ndim not in (3, 4):
        raise invalid(
            "A source must hold images (N, H, W, C) or series (N, steps, channels).",
            source=name,
            shape=x.shape,
        )
    return Dataset(name, (x.astype(np.float32), y), (x_test.astype(np.float32), y_test))


def _load_series(path: str | Path) -> Dataset:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CorruptFileError(
            f"This is not a readable .zip file ({error}). Received: path={str(path)!r}. "
            "Take a fresh copy."
        ) from error
    parts = []
    for part in ("TRAIN", "TEST"):
        found = [member for member in members if member.endswith(f"{part}.ts")]
        if len(found) != 1:
            raise invalid(
                f"The .zip file must hold one file that ends in {part}.ts.",
                path=str(path),
                files=members,
            )
        x, y, _ = load_ts(path, found[0])
        parts.append((x, y.astype(np.int64)))
    return Dataset(Path(path).stem, *parts)
