"""Is this a model that we can work on? Asked before any work."""

from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.errors import UnsupportedModelError, invalid, wrong_type
from tf_metacompress.layer_tree import leaf_layers


def check_keras_model(model: Any, name: str = "model") -> None:
    """Raises unless `model` is a built Keras 3 model with finite weights.

    Args:
        model: What the user passed.
        name: Name of the argument, for the message.

    Raises:
        UnsupportedModelError: For a Keras 2 (tf_keras) model.
        ArgumentTypeError: For anything else that is not a Keras model.
        InvalidArgumentError: For a model that is not built or has NaN or infinite weights.
    """
    if not isinstance(model, keras.Model):
        legacy = [base for base in type(model).__mro__ if base.__module__.startswith("tf_keras")]
        if legacy:
            raise UnsupportedModelError(
                f"`{name}` is a Keras 2 model (tf_keras); a Keras 3 model is expected. "
                f"Received: {name}={type(model).__module__}.{type(model).__name__}. Save its "
                "weights and load them into the same architecture built with `keras`, and unset "
                "TF_USE_LEGACY_KERAS."
            )
        raise wrong_type(f"`{name}` must be a Keras 3 model.", **{name: model})
    unbuilt = [p for p, layer in leaf_layers(model).items() if kind_of(layer) and not layer.built]
    if not model.built or unbuilt:
        raise invalid(
            f"`{name}` must be built, so that its weights exist.",
            "Give it a keras.Input, or call it once on data.",
            **{name: model.name, "without weights": unbuilt},
        )
    for variable in model.weights:
        if not np.isfinite(np.asarray(variable, np.float32)).all():
            raise invalid(
                f"`{name}` has weights that are NaN or infinite.",
                "Train it again from its last good checkpoint.",
                weight=variable.path,
            )
