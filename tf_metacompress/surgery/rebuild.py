"""A model made again from its config with fewer channels, and the weights that stay."""

import copy
from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import copy_state, own_classes
from tf_metacompress.anatomy.channels import ChannelGraph, Cut
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import give_names, layer_names, leaf_layers, weight_of

Config = dict[str, Any]


def rebuild(
    model: keras.Model, graph: ChannelGraph, removed: Collection[int], dtype: str | None = None
) -> keras.Model:
    """Makes a model again without some of its channels.

    Args:
        model: A built Sequential or Functional model. It is not changed.
        graph: Its channels.
        removed: Classes of the channels that go.
        dtype: Name of a dtype policy for every layer; None keeps their own.

    Returns:
        An uncompiled model of the same class, with the same layer names and the weights that stay.

    Raises:
        UnsupportedModelError: When the config does not make the model again.
    """
    gone = np.fromiter(removed, int, len(removed))
    config = copy.deepcopy(model.get_config())
    _edit(config, "", _new_extents(graph.extents, gone))
    if dtype is not None:
        config = _with_dtype(config, dtype)
    name = type(model).__name__
    smaller = keras.saving.deserialize_keras_object(
        {"module": None, "class_name": name, "registered_name": name, "config": config},
        custom_objects=own_classes(model),
        safe_mode=False,
    )
    if not smaller.built:
        smaller.build(model.input_shape)
    give_names(smaller, layer_names(model))
    _copy_weights(model, smaller, graph.weights, gone)
    return smaller


def _new_extents(extents: Sequence[Cut], gone: np.ndarray) -> dict[str, list[tuple[str, int, int]]]:
    found: dict[str, list[tuple[str, int, int]]] = {}
    for cut in extents:
        kept = int((~np.isin(cut.classes, gone)).sum())
        if kept < len(cut.classes):
            found.setdefault(cut.path, []).append((cut.attribute, cut.axis, kept))
    return found


def _edit(config: Config, prefix: str, extents: dict[str, list[tuple[str, int, int]]]) -> None:
    """Writes the new numbers into the config of a model and of those inside it."""
    for entry in config["layers"]:
        inner = entry["config"]
        path = f"{prefix}{inner['name']}"
        # Layers of Keras are built when called; a recorded shape would be the old one.
        if str(entry.get("module", "")).partition(".")[0] == "keras":
            entry.pop("build_config", None)
        for key, index, count in extents.get(path, ()):
            _write(inner, key, index, count)
        if isinstance(inner.get("layers"), list):
            _edit(inner, f"{path}/", extents)


def _write(config: Config, key: str, index: int, count: int) -> None:
    if index < 0:
        config[key] = count
        return
    for holder, name in _shape_holders(config, key):
        shape = list(holder[name])
        shape[index] = count
        holder[name] = shape


def _shape_holders(config: Config, key: str) -> list[tuple[Config, str]]:
    holders = [(config, key)] if config.get(key) is not None else []
    first = (config.get("layers") or [{}])[0]
    if first.get("class_name") == "InputLayer" and key == "build_input_shape":
        holders.append((first["config"], "batch_shape"))
    return holders


def _with_dtype(value: Any, dtype: str) -> Any:
    """A config whose layers all have one dtype policy; input tensors keep their types."""
    if isinstance(value, list):
        return [_with_dtype(item, dtype) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return {**value, "config": {"name": dtype}}
    return {key: _with_dtype(item, dtype) for key, item in value.items()}


def _copy_weights(
    model: keras.Model, smaller: keras.Model, cuts: Sequence[Cut], gone: np.ndarray
) -> None:
    old_layers, new_layers = leaf_layers(model), leaf_layers(smaller)
    if old_layers.keys() != new_layers.keys():
        raise _not_made_again(model, "it has other layers")
    if len(model.variables) != len(smaller.variables):
        raise _not_made_again(model, "it has other weights")
    kept: dict[int, list[tuple[int, np.ndarray]]] = {}
    for cut in cuts:
        variable = weight_of(old_layers[cut.path], cut.attribute)
        positions = np.flatnonzero(~np.isin(cut.classes, gone))
        if len(positions) < len(cut.classes):
            kept.setdefault(id(variable), []).append((cut.axis, positions))
    for source, target in zip(model.variables, smaller.variables, strict=True):
        value = np.asarray(source)
        for axis, positions in kept.get(id(source), ()):
            value = np.take(value, positions, axis)
        if value.shape != tuple(target.shape):
            raise _not_made_again(model, f"{source.path} has another shape")
        target.assign(value)
    for path, layer in old_layers.items():
        if not any(id(variable) in kept for variable in layer.variables):
            copy_state(layer, new_layers[path])


def _not_made_again(model: keras.Model, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "A model with fewer channels is made from the config of the old one, and that of this "
        f"model does not make it again: {why}. Received: model={model.name!r}. Build it from "
        "keras.Input with layers that have a working `get_config`."
    )
