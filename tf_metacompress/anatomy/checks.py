"""Is this a model that we can work on? Asked before any work."""

from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.errors import (
    MetacompressError,
    UnsupportedModelError,
    invalid,
    wrong_type,
)
from tf_metacompress.layer_tree import inner_layers, leaf_layers


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
        raise _foreign(model, name)
    unbuilt = _unbuilt(model)
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


def _foreign(model: Any, name: str) -> MetacompressError:
    """The error for what is not a Keras 3 model."""
    if not any(base.__module__.startswith("tf_keras") for base in type(model).__mro__):
        return wrong_type(f"`{name}` must be a Keras 3 model.", **{name: model})
    shown = f"Received: {name}={type(model).__module__}.{type(model).__name__}"
    wrappers = _tfmot_layers(model)
    if wrappers:
        return UnsupportedModelError(
            f"`{name}` is a Keras 2 model (tf_keras) that tfmot has compressed already; a plain "
            f"Keras 3 model is expected. {shown} with {', '.join(wrappers)}. Take the wrappers "
            "off, with tfmot's strip_pruning or by training the model without quantize_model, and "
            "load the weights into the same architecture built with `keras`."
        )
    return UnsupportedModelError(
        f"`{name}` is a Keras 2 model (tf_keras); a Keras 3 model is expected. "
        f"{shown}. Save its weights and load them into the same architecture built with `keras`, "
        "and unset TF_USE_LEGACY_KERAS."
    )


def _tfmot_layers(model: Any) -> list[str]:
    """Names the classes of tfmot in a model, without importing it."""
    layers = [model, *getattr(model, "layers", ())]
    found = {
        type(layer).__name__
        for layer in layers
        if type(layer).__module__.startswith("tensorflow_model_optimization")
    }
    return sorted(found)


def _unbuilt(model: keras.Model) -> list[str]:
    """Paths of layers without weights; not those that a custom layer holds and never calls."""
    layers = inner_layers(model)
    return [
        path
        for path, layer in leaf_layers(model).items()
        if kind_of(layer) is not None
        and not layer.built
        and not _is_built_custom_layer(layers.get(path.rpartition("/")[0]))
    ]


def _is_built_custom_layer(holder: keras.layers.Layer | None) -> bool:
    known = (keras.Model, keras.layers.Wrapper)
    return holder is not None and holder.built and not isinstance(holder, known)
