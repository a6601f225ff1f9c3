"""A subclassed model as a Functional one, whose channels can be followed."""

from typing import Any

import keras

from tf_metacompress.anatomy import copy_model, copy_state, own_classes
from tf_metacompress.anatomy.channels import has_graph
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.layer_tree import leaf_layers
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
        with keras.saving.custom_object_scope(own_classes(model)):
            again = keras.Model.from_config(_functional(model).get_config())
    except Exception as error:
        raise _cannot(model, str(error)) from error
    layers = leaf_layers(model)
    for path, layer in leaf_layers(again).items():
        if path not in layers:
            raise _cannot(model, "its layers have other paths there")
        for source, target in zip(layers[path].variables, layer.variables, strict=True):
            target.assign(source)
        copy_state(layers[path], layer)
    arrays = random_inputs(again)
    inputs = keras.tree.pack_sequence_as(again.input, arrays)
    if difference(run(model, inputs), run(again, arrays)) > TOLERANCE:
        raise _cannot(model, "it gives other outputs there")
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
        return {name: keras.Input(batch_shape=shape, name=name) for name, shape in shapes.items()}
    if shapes and isinstance(shapes[0], (list, tuple)):
        return [keras.Input(batch_shape=shape) for shape in shapes]
    return keras.Input(batch_shape=(None, *shapes[1:]))


def _cannot(model: keras.Model, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "The channels of a subclassed model are followed by calling it on symbolic tensors, and "
        f"this one cannot be ({' '.join(why.split())[:300]}). Received: model={model.name!r}, "
        f"type={type(model).__name__}. Build it from keras.Input, or use keras.ops in its `call`."
    )
