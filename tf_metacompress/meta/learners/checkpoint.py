"""Everything a meta-training needs to go on, in one file."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tf_metacompress.atomic import atomic_path
from tf_metacompress.errors import CorruptFileError
from tf_metacompress.meta.learners.algorithm import Algorithm

SCHEMA_VERSION = 1


def save(path: str | Path, algorithm: Algorithm) -> None:
    """Writes weights, masks, ranges, extras, the optimizer's state and the step, atomically.

    Args:
        path: File to write.
        algorithm: A compiled learner.
    """
    variables = _variables(algorithm)
    header = json.dumps({**_identity(algorithm, variables), "meta_step": algorithm.meta_step})
    arrays = {f"variable_{index}": np.asarray(v) for index, v in enumerate(variables)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **arrays)


def restore(path: str | Path, algorithm: Algorithm) -> bool:
    """Brings a learner to where a file left it, if there is one.

    Args:
        path: What `save` wrote.
        algorithm: A compiled learner of the same kind on the same model.

    Returns:
        Whether the file exists.

    Raises:
        CorruptFileError: When it is no such file, or of another learner.
    """
    if not Path(path).exists():
        return False
    variables = _variables(algorithm)
    header, arrays = _read(path)
    meta_step = header.pop("meta_step")
    expected = _identity(algorithm, variables)
    different = sorted(key for key in expected if header.get(key) != expected[key])
    if different:
        key = different[0]
        raise CorruptFileError(
            "A checkpoint must be of the same kind of learner, model and optimizer. "
            f"Received: path={str(path)!r} with another {key} "
            f"({header.get(key)!s:.80} in place of {expected[key]!s:.80}). Name another file."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    algorithm.meta_step = meta_step
    return True


def _read(path: str | Path) -> tuple[dict, list[np.ndarray]]:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = [file[f"variable_{index}"] for index in range(len(file.files) - 1)]
            header["meta_step"] = int(header["meta_step"])
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise CorruptFileError(
            f"This is not a readable checkpoint of a meta-learner ({error}). "
            f"Received: path={str(path)!r}. Delete it to start anew."
        ) from error
    return header, arrays


def _variables(algorithm: Algorithm) -> list[keras.Variable]:
    optimizer = algorithm.compiled.optimizer
    return [*algorithm.model.variables, *algorithm.extras, *optimizer.variables]


def _identity(algorithm: Algorithm, variables: Sequence[keras.Variable]) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "learner": type(algorithm).__name__,
        "optimizer": type(algorithm.compiled.optimizer).__name__,
        "shapes": [list(variable.shape) for variable in variables],
    }
