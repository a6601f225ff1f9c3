"""A copy of a Keras model that shares nothing with it."""

import tempfile
from typing import Any

import keras

from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import give_names, inner_layers, layer_names


def copy_model(model: keras.Model) -> keras.Model:
    """Copies a model, weights included; the copy shares nothing with the original.

    Args:
        model: A built Keras 3 model with a working `get_config`.

    Returns:
        An uncompiled model of the same class.

    Raises:
        UnsupportedModelError: When the model's class cannot be made again from its config.
    """
    try:
        copy = keras.saving.deserialize_keras_object(
            _config(model), custom_objects=own_classes(model), safe_mode=False
        )
    except (NotImplementedError, TypeError) as error:
        raise _cannot_be_copied(model, str(error)) from error
    if not copy.built:
        copy.build_from_config(model.get_build_config())
        copy.built = True
    if [v.shape for v in copy.variables] != [v.shape for v in model.variables]:
        raise _cannot_be_copied(model, "the copy has other weights")
    for source, target in zip(model.variables, copy.variables, strict=True):
        target.assign(source)
    give_names(copy, layer_names(model))
    copies = inner_layers(copy)
    for path, layer in inner_layers(model).items():
        copy_state(layer, copies[path])
    return copy


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies what a layer keeps outside its variables: statistics in use, vocabularies.

    Args:
        source: A built layer.
        target: A built layer with weights of the same shapes.
    """
    if type(source).load_own_variables is not keras.layers.Layer.load_own_variables:
        store: dict[str, Any] = {}
        source.save_own_variables(store)
        target.load_own_variables(store)
    if hasattr(source, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)


def _config(model: keras.Model) -> dict[str, Any]:
    """What `serialize_keras_object` gives, without how the model was compiled."""
    name = type(model).__name__
    return {
        "module": None,
        "class_name": name,
        "registered_name": name,
        "config": model.get_config(),
        "build_config": model.get_build_config(),
    }


def own_classes(model: keras.Model) -> dict[str, type]:
    """Classes of the user's layers, which need not be registered with Keras to be copied.

    Args:
        model: Any Keras 3 model.

    Returns:
        Names to classes, that of the model among them.
    """
    classes = {type(layer).__name__: type(layer) for layer in inner_layers(model).values()}
    own = {name: found for name, found in classes.items() if not hasattr(keras.layers, name)}
    return own | {type(model).__name__: type(model)}


def _cannot_be_copied(model: keras.Model, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"A model is copied through its config, and that of {type(model).__name__} does not "
        f"make it again ({' '.join(reason.split())[:300]}). Received: model={model.name!r}. Give "
        "the class `get_config` and `from_config`, or use the MetaCompress callback, which works "
        "in place."
    )
