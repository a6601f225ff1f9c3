"""A Keras model from a file, and whether a data set fits it."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import check_keras_model
from tf_metacompress.errors import CorruptFileError, UnsupportedModelError, invalid
from tf_metacompress.pipeline.datasets import Dataset

_UNKNOWN_CLASS = re.compile(r"[Cc]ould not locate class '([^']+)'")


def load_model(path: str | Path) -> keras.Model:
    """Reads a Keras model from a file, without its optimizer and loss.

    Args:
        path: A .keras file.

    Returns:
        The model.

    Raises:
        CorruptFileError: If it is not a readable Keras 3 file.
        UnsupportedModelError: If it was saved by Keras 2 (tf_keras), or holds layers whose classes
            are not known here.
        InvalidArgumentError: If there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise invalid(
            "The model must be a file, not a folder.",
            "Save it with model.save('model.keras') from Keras 3.",
            path=str(path),
        )
    if not path.is_file():
        raise invalid("There is no such model file.", path=str(path))
    _check_keras_version(path)
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        # A damaged archive raises errors of zipfile, h5py, json and Keras, of any class.
        raise _unreadable(path, error) from error


def _check_keras_version(path: Path) -> None:
    version = _keras_version(path)
    if version and not version.startswith("3."):
        raise UnsupportedModelError(
            "This is a Keras 2 model (tf_keras); a Keras 3 model is expected. "
            f"Received: path={str(path)!r}, keras_version={version!r}. Load its weights into the "
            "same architecture built with `keras`, and save that with model.save('model.keras')."
        )


def _keras_version(path: Path) -> str:
    """Version noted in a .keras file; "" when it cannot be read, which loading then explains."""
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read("metadata.json")).get("keras_version", ""))
    except (OSError, KeyError, ValueError, AttributeError, zipfile.BadZipFile):
        return ""


def _unreadable(path: Path, error: Exception) -> Exception:
    text = str(error).strip() or type(error).__name__
    missing = _UNKNOWN_CLASS.findall(text)
    if missing:
        return UnsupportedModelError(
            f"The model holds a layer of a class that is not known here: {missing[-1]}. "
            f"Received: path={str(path)!r}. Use the MetaCompress callback in Python, where the "
            "class is defined."
        )
    return CorruptFileError(
        f"Keras cannot read this model: {text.splitlines()[0].rstrip('.')}. "
        f"Received: path={str(path)!r}. Save it with model.save('model.keras') from Keras 3."
    )


def check_fits(model: keras.Model, data: Dataset) -> None:
    """Raises unless a data set fits a classifier.

    Args:
        model: The classifier.
        data: The data set.

    Raises:
        UnsupportedModelError: For a model with several inputs or outputs, or one that does not give
            one number a class.
        InvalidArgumentError: When the shapes or the labels do not fit.
    """
    check_keras_model(model)
    _check_input(model, data)
    outputs = _run_once(model, data.test[0][:1])
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2:
        raise UnsupportedModelError(
            "The command line compresses classifiers with one input and one output of shape "
            f"(batch, classes). Received: output={_shapes(outputs)}. "
            "Use the MetaCompress callback in Python."
        )
    if shape[-1] < data.num_classes:
        hint = "A single sigmoid output is not enough: use softmax over two classes."
        raise invalid(
            "The labels of the data set must be below the number of the model's outputs.",
            hint if shape[-1] == 1 else "",
            largest_label=data.num_classes - 1,
            outputs=shape[-1],
        )


def _check_input(model: keras.Model, data: Dataset) -> None:
    inputs = getattr(model, "inputs", None)
    if not inputs:  # a subclassed model, which is asked by running it
        return
    if len(inputs) != 1:
        raise UnsupportedModelError(
            "The command line compresses models with one input. "
            f"Received: inputs={[tuple(tensor.shape) for tensor in inputs]}. "
            "Use the MetaCompress callback in Python."
        )
    expected = tuple(inputs[0].shape)[1:]
    pairs = zip(expected, data.input_shape, strict=False)
    if len(expected) != len(data.input_shape) or any(e not in (None, n) for e, n in pairs):
        raise invalid(
            "The inputs of the data set must have the shape that the model takes.",
            "For grey images add a last axis: x[..., None]."
            if len(expected) == len(data.input_shape) + 1
            else "",
            model_input=(None, *expected),
            data_input=(None, *data.input_shape),
        )


def _run_once(model: keras.Model, x: np.ndarray) -> Any:
    try:
        return model(x, training=False)
    except Exception as error:
        # Whatever a layer raises on inputs that are not its own.
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise invalid(
            f"The model must run on the inputs of the data set: {reason}.",
            data_input=(None, *x.shape[1:]),
        ) from error


def _shapes(outputs: Any) -> Any:
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), outputs)
