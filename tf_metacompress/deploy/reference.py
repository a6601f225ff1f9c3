"""What the Keras model gives, as the reference for its file."""

import keras
import numpy as np

from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.anatomy.signature import ModelSignature
from tf_metacompress.deploy.precision import float32_compute
from tf_metacompress.errors import invalid

_BATCH = 64


def keras_outputs(
    model: keras.Model, signature: ModelSignature, names: tuple[str, ...], samples: Samples
) -> dict[str, np.ndarray]:
    """Runs a Keras model on samples, in float32 whatever its dtype policy.

    Args:
        model: The model. It is not changed.
        signature: Its inputs.
        names: Names of its outputs, in the order Keras flattens them.
        samples: The inputs.

    Returns:
        Output name to array of shape (N, ...).

    Raises:
        InvalidArgumentError: If the model itself gives NaN or infinite values.
    """
    batches = []
    with float32_compute(model):
        for start in range(0, len(samples), _BATCH):
            batch = {name: array[start : start + _BATCH] for name, array in samples.arrays.items()}
            outputs = model(signature.pack(batch), training=False)
            batches.append([np.asarray(value) for value in keras.tree.flatten(outputs)])
    joined = {name: np.concatenate(parts) for name, *parts in zip(names, *batches, strict=True)}
    for name, values in joined.items():
        if not np.isfinite(values.astype(np.float64)).all():
            raise invalid(
                "The Keras model itself gives NaN or infinite values.",
                "Check its weights and the range of the data.",
                output=name,
            )
    return joined
