"""The calls of a Sequential or Functional model, read from its config: nothing is run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tf_metacompress.errors import UnsupportedModelError

Shape = tuple[int | None, ...]
_FUNCTIONAL_KEYS = {"layers", "input_layers", "output_layers"}


@dataclass(frozen=True)
class TensorKey:
    """A tensor of a graph: the output `index` of the call number `call` of an operation."""

    name: str
    call: int
    index: int


@dataclass(frozen=True)
class GraphCall:
    """One call of a layer, of a nested model or of a plain operation.

    Attributes:
        name: Name of the operation in its model.
        number: How many calls of the same operation come before it.
        operation: The layer, model or `keras.ops` operation.
        inputs: The tensors it takes, in order.
        arguments: Its positional arguments, tensors as `TensorKey`.
    """

    name: str
    number: int
    operation: Any
    inputs: tuple[TensorKey, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Graph:
    """A model as calls in the order of execution."""

    calls: tuple[GraphCall, ...]
    inputs: tuple[TensorKey, ...]
    outputs: tuple[TensorKey, ...]
    shapes: dict[TensorKey, Shape]


def has_graph(model: Any) -> bool:
    """Whether the calls of a model can be read: it is Sequential or Functional and built.

    Args:
        model: Any object.

    Returns:
        False for subclassed models and for layers.
    """
    if isinstance(model, keras.Sequential):
        return bool(model.built)
    # An attribute of Functional models only; their subclasses with a config of their own fail next.
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        return False
    return set(model.get_config()) >= _FUNCTIONAL_KEYS


def read_graph(model: keras.Model, input_shape: Shape | None = None) -> Graph:
    """Reads the calls of a model.

    Args:
        model: A model with `has_graph`.
        input_shape: Of a Sequential model, the shape it is called on; None for its own.

    Returns:
        The graph.

    Raises:
        UnsupportedModelError: When the model has no readable graph.
    """
    if not has_graph(model):
        raise UnsupportedModelError(
            "Channels are followed through Sequential and Functional models only. "
            f"Received: model={getattr(model, 'name', model)!r}, type={type(model).__name__}. "
            "Build the model from keras.Input."
        )
    if isinstance(model, keras.Sequential):
        return _read_sequential(model, input_shape)
    return _read_functional(model)


def _read_sequential(model: keras.Sequential, input_shape: Shape | None) -> Graph:
    shape = tuple(input_shape or model.input_shape)
    key = TensorKey(model.name, -1, 0)
    shapes, calls = {key: shape}, []
    first = key
    for layer in model.layers:
        calls.append(GraphCall(layer.name, 0, layer, (key,), (key,)))
        key = TensorKey(layer.name, 0, 0)
        shape = _shape_after(layer, shape)
        if shape is not None:
            shapes[key] = shape
    return Graph(tuple(calls), (first,), (key,), shapes)


def _shape_after(layer: keras.layers.Layer, shape: Shape | None) -> Shape | None:
    if type(layer).__module__.partition(".")[0] != "keras":
        # A layer of somebody else need not have `compute_output_shape`.
        after = getattr(getattr(layer, "output", None), "shape", None)
    else:
        after = None if shape is None else layer.compute_output_shape(shape)
    is_shape = isinstance(after, (tuple, list)) and all(n is None or type(n) is int for n in after)
    return tuple(after) if is_shape else None


def _read_functional(model: keras.Model) -> Graph:
    config = model.get_config()
    operations = {operation.name: operation for operation in model.operations}
    calls: list[GraphCall] = []
    shapes: dict[TensorKey, Shape] = {}
    for entry in config["layers"]:
        for number, node in enumerate(entry["inbound_nodes"]):
            arguments = _keyed([*node["args"], node["kwargs"]], shapes)
            calls.append(
                GraphCall(
                    name=entry["name"],
                    number=number,
                    operation=operations[entry["name"]],
                    inputs=tuple(_keys(arguments)),
                    arguments=tuple(arguments[:-1]),
                )
            )
    inputs = tuple(_ends(config["input_layers"]))
    outputs = tuple(_ends(config["output_layers"]))
    for keys, tensors in ((inputs, model.inputs), (outputs, model.outputs)):
        shapes.update((key, tuple(t.shape)) for key, t in zip(keys, tensors, strict=True))
    return Graph(_ordered(calls, inputs), inputs, outputs, shapes)


def _keyed(value: Any, shapes: dict[TensorKey, Shape]) -> Any:
    """Arguments of a call with a key in the place of every tensor, whose shape is noted."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            config = value["config"]
            key = TensorKey(*config["keras_history"])
            shapes[key] = tuple(config["shape"])
            return key
        return {name: _keyed(item, shapes) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_keyed(item, shapes) for item in value]
    return value


def _keys(value: Any) -> Iterable[TensorKey]:
    if isinstance(value, TensorKey):
        yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _keys(value[name])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _keys(item)


def _ends(value: Any) -> Iterable[TensorKey]:
    """The keys of "input_layers" or "output_layers", flattened as Keras flattens."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _ends(value[name])
    elif len(value) == 3 and isinstance(value[0], str):
        yield TensorKey(*value)
    else:
        for item in value:
            yield from _ends(item)


def _ordered(calls: Sequence[GraphCall], inputs: Sequence[TensorKey]) -> tuple[GraphCall, ...]:
    """Calls sorted so that each comes after what it reads: shared layers are listed once."""
    made = {(key.name, key.call) for key in inputs}
    ordered: list[GraphCall] = []
    waiting = list(calls)
    while waiting:
        ready = [c for c in waiting if all((key.name, key.call) in made for key in c.inputs)]
        if not ready:
            raise UnsupportedModelError(
                "The config of the model has calls that read what nothing makes. "
                f"Received: calls={[call.name for call in waiting][:8]}. Save and load the model."
            )
        ordered += ready
        made |= {(call.name, call.number) for call in ready}
        waiting = [call for call in waiting if (call.name, call.number) not in made]
    return tuple(ordered)
