"""Φ on disk: one .npz with its weights, a header and a checksum."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tf_metacompress.atomic import atomic_path
from tf_metacompress.errors import CorruptFileError
from tf_metacompress.meta.features import NUM_FEATURES
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.policy import Action

SCHEMA_VERSION = 2


def _digest(header: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_phi(path: str | Path, arrays: Sequence[np.ndarray], config: Mapping[str, Any]) -> None:
    """Writes Φ, atomically.

    Args:
        path: File to write.
        arrays: Weights of Φ.
        config: What else makes the compressor, as JSON data.
    """
    header = {
        "schema_version": SCHEMA_VERSION,
        "num_features": NUM_FEATURES,
        "config": dict(config),
    }
    arrays = [np.asarray(array, np.float32) for array in arrays]
    text = json.dumps({**header, "sha256": _digest(header, arrays)})
    named = {f"weight_{index}": array for index, array in enumerate(arrays)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=np.frombuffer(text.encode(), np.uint8), **named)


def load_phi(path: str | Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Reads Φ and checks it.

    Args:
        path: File to read.

    Returns:
        Weights of Φ, and the config given to `save_phi`.

    Raises:
        CorruptFileError: When it is not a file of Φ, of another version, or was changed.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = [file[f"weight_{index}"] for index in range(len(file.files) - 1)]
        checksum = header.pop("sha256")
        version, num_features = header["schema_version"], header["num_features"]
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise CorruptFileError(
            f"This is not a readable file of a MetaCompressor ({error}). "
            f"Received: path={str(path)!r}. Save one with `compressor.save(path)`."
        ) from error
    if version != SCHEMA_VERSION or num_features != NUM_FEATURES:
        raise CorruptFileError(
            f"The file must have schema version {SCHEMA_VERSION} and {NUM_FEATURES} features. "
            f"Received: schema_version={version}, num_features={num_features}. "
            "Meta-train again with this version of the package."
        )
    if checksum != _digest(header, arrays):
        raise CorruptFileError(
            "The contents of the file do not match its checksum. "
            f"Received: path={str(path)!r}. It was changed or damaged; take a fresh copy."
        )
    return arrays, header["config"]


def configuration(compressor: Any) -> dict[str, Any]:
    """Gives what besides the weights of Φ makes a compressor, as JSON data.

    Args:
        compressor: A `MetaCompressor`.

    Returns:
        The config for `save_phi`.
    """
    return {
        "hidden": list(compressor.hidden),
        "num_heads": compressor.num_heads,
        "actions": [asdict(action) for action in compressor.actions],
        "inner_loop": asdict(compressor.inner_loop),
        "temperature": compressor.temperature,
        "seed": compressor.seed,
        "meta_steps": compressor.meta_steps,
    }


def constructor_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a config back into arguments of `MetaCompressor`.

    Args:
        config: What `configuration` gave.

    Returns:
        Arguments by name.
    """
    loop = {**config["inner_loop"], "inner_lr": tuple(config["inner_loop"]["inner_lr"])}
    given = {key: config[key] for key in ("hidden", "num_heads", "temperature", "seed")}
    actions = [Action(**action) for action in config["actions"]]
    return {**given, "actions": actions, "inner_loop": InnerLoop(**loop)}
