"""A hash of a Keras model: its configuration and every weight."""

import hashlib
import json

import keras
import numpy as np


def model_digest(model: keras.Model) -> str:
    """Hashes what a model computes with.

    Args:
        model: A built Keras 3 model.

    Returns:
        SHA-256, hexadecimal, of the model's JSON configuration and, in the order Keras lists them,
        of type, shape and bytes of each weight: the same for the model saved and loaded again. A
        model whose class gives no configuration is hashed by the name of its class and its weights.
    """
    digest = hashlib.sha256(_configuration(model).encode())
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        digest.update(f"{values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _configuration(model: keras.Model) -> str:
    try:
        return json.dumps(json.loads(model.to_json()), sort_keys=True)
    except (NotImplementedError, TypeError, ValueError):
        return type(model).__qualname__
