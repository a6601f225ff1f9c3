"""A subclassed model as a Functional one, whose channels can be followed."""

from typing import Any

import keras

from tf_metacompress.anatomy import copy_model, copy_state, own_classes
from tf_metacompress.anatomy.channels import has_graph
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import give_names, inner_layers, layer_names, leaf_layers
from tf_metacompress.surgery.proof import TOLERANCE, difference, random_inputs, run


def as_functional(model: keras.Model) -> keras.Model:
    """Gives a model with a graph: the model itself, or what its `call` does on symbolic tensors.

    Args:
        model: A built Keras 3 model. It is not changed.

    Returns:
        `model` when it is Sequential or Functional; else a Functional model with copies of its
        layers, which gives the same outputs.

    Raises:
        UnsupportedModelError: When `call` does not run on symbolic tensors, as with Python control
            flow over values or plain TensorFlow functions.
    """
    if has_graph(model):
        return model
    try:
        again = _made_again(_functional(model), own_classes(model))
        arrays = random_inputs(again)
        inputs = keras.tree.pack_sequence_as(again.input, arrays)
        gap = difference(run(model, inputs), run(again, arrays))
    except Exception as error:
        raise _cannot(model, str(error)) from error
    if leaf_layers(again).keys() - leaf_layers(model).keys():
        raise _cannot(model, "its layers have other paths there")
    if gap > TOLERANCE:
        raise _cannot(model, "it gives other outputs there")
    return again


def _made_again(functional: keras.Model, classes: dict[str, type]) -> keras.Model:
    """A copy whose layers are called nowhere else, so that its config is that of the graph."""
    with keras.saving.custom_object_scope(classes):
        again = keras.Model.from_config(functional.get_config())
    for source, target in zip(functional.variables, again.variables, strict=True):
        target.assign(source)
    give_names(again, layer_names(functional))
    copies = inner_layers(again)
    for path, layer in inner_layers(functional).items():
        copy_state(layer, copies[path])
    return again


def _functional(model: keras.Model) -> keras.Model:
    if hasattr(model, "operations"):
        # A class of its own around a Functional graph.
        return keras.Model(model.input, model.output, name=model.name)
    copy = copy_model(model)
    inputs = _symbolic_inputs(copy)
    return keras.Model(inputs, copy.call(inputs), name=model.name)


def _symbolic_inputs(model: keras.Model) -> Any:
    shapes = (model.get_build_config() or {})["input_shape"]
    if isinstance(shapes, dict):
        return {
            name: keras.Input(batch_shape=(None, *shape[1:]), name=name)
            for name, shape in shapes.items()
        }
    if shapes and isinstance(shapes[0], (list, tuple)):
        return [keras.Input(batch_shape=(None, *shape[1:])) for shape in shapes]
    return keras.Input(batch_shape=(None, *shapes[1:]))


def _cannot(model: keras.Model, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "The channels of a subclassed model are followed by calling it on symbolic tensors, and "
        f"this one cannot be ({' '.join(why.split())[:300]}). Received: model={model.name!r}, "
        f"type={type(model).__name__}. Build it from keras.Input, or use keras.ops in its `call`."
    )
