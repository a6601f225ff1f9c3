"""The layers inside a model by path, and the redirection of their calls.

Every technique of this package acts on a layer by redirecting its `call` on the instance. Keras
looks `call` up at each invocation, so this reaches a layer wherever it is used: in Sequential,
Functional, nested and subclassed models, once or several times, without rebuilding a graph.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

Call = Callable[..., Any]


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return [layer.layer] if isinstance(layer, keras.layers.Wrapper) else []


def _unused(path: str, used: Mapping[str, Any]) -> str:
    numbered = (f"{path}_{number}" for number in itertools.count(1))
    return next(name for name in itertools.chain([path], numbered) if name not in used)


def leaf_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Lists the innermost layers of a model by path.

    Args:
        model: Any Keras 3 model.

    Returns:
        Paths such as "backbone/conv1" to layers, in the order Keras lists them. A layer that is
        used several times appears once. Input layers are left out. Where a subclassed model has
        several layers of one name, the later ones get a number, as in "conv1_1".

    Example:
        >>> head = keras.Sequential([keras.layers.Dense(2, name="dense")], name="head")
        >>> list(leaf_layers(keras.Sequential([keras.Input((3,)), head])))
        ['head/dense']
    """
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = set()

    def visit(layer: keras.layers.Layer, prefix: str) -> None:
        for child in _children(layer):
            if id(child) in seen or isinstance(child, keras.layers.InputLayer):
                continue
            seen.add(id(child))
            path = f"{prefix}{child.name}"
            if _children(child):
                visit(child, f"{path}/")
            else:
                found[_unused(path, found)] = child

    visit(model, "")
    return found


def inner_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Lists all layers of a model by path, those inside custom layers too.

    `leaf_layers` ends at a custom layer, which is acted on as a whole; this goes on into the layers
    that it holds in its attributes, in lists and in dicts.

    Args:
        model: Any Keras 3 model.

    Returns:
        Paths to layers, the containing layers among them.
    """
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = {id(model)}

    def visit(value: Any, prefix: str) -> None:
        if isinstance(value, keras.layers.Layer):
            if id(value) not in seen:
                seen.add(id(value))
                path = _unused(f"{prefix}{value.name}", found)
                found[path] = value
                visit_all(_held(value), f"{path}/")
        elif isinstance(value, dict):
            visit_all(value.values(), prefix)
        elif isinstance(value, (list, tuple)):
            visit_all(value, prefix)

    def visit_all(values: Iterable[Any], prefix: str) -> None:
        for value in values:
            visit(value, prefix)

    visit_all(_held(model), "")
    return found


def _held(layer: keras.layers.Layer) -> list[Any]:
    """What may hold the layers inside a layer."""
    return list(layer.layers if isinstance(layer, keras.Model) else vars(layer).values())


def redirect(layer: keras.layers.Layer, call: Callable[[Call], Call]) -> None:
    """Replaces the call of one layer instance.

    Args:
        layer: The layer; its class and its config stay as they are.
        call: Takes the present `call` and returns the new one.
    """
    layer.call = call(layer.call)


def restore(layer: keras.layers.Layer) -> None:
    """Gives a layer back the call of its class; nothing happens when it was not redirected."""
    if "call" in vars(layer):
        del layer.call


def is_redirected(layer: keras.layers.Layer) -> bool:
    """Whether the call of this layer instance has been replaced."""
    return "call" in vars(layer)


@contextmanager
def redirected(
    layers: Mapping[str, keras.layers.Layer], wrap: Callable[[str, keras.layers.Layer, Call], Call]
) -> Iterator[None]:
    """Redirects the calls of several layers for the length of a `with` block.

    Args:
        layers: Layers by path.
        wrap: Takes path, layer and its present call; returns the new call.
    """
    before = {path: vars(layer).get("call") for path, layer in layers.items()}
    try:
        for path, layer in layers.items():
            layer.call = wrap(path, layer, layer.call)
        yield
    finally:
        for path, layer in layers.items():
            if before[path] is None:
                restore(layer)
            else:
                layer.call = before[path]


def call_with_weights(
    layer: keras.layers.Layer,
    call: Call,
    substitutes: Mapping[str, tf.Tensor],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Calls a layer with tensors in the place of some of its weights.

    Gradients flow to the substitutes. Works inside `stateless_call` and keeps the updates that the
    layer makes to its own state, such as seeds.

    Args:
        layer: A built layer.
        call: What to call, usually the layer's own call from before a redirection.
        substitutes: Weight attribute ("kernel") to tensor of the same shape.
        *args: Passed to `call`.
        **kwargs: Passed to `call`.

    Returns:
        What `call` returns.
    """
    replaced = {id(getattr(layer, name)): value for name, value in substitutes.items()}
    mapping = [
        (variable, replaced.get(id(variable), tf.convert_to_tensor(variable)))
        for variable in layer.variables
    ]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        # The scope may have cast what it was given, so ask it what it starts from.
        before = [scope.get_current_value(variable) for variable in layer.variables]
        outputs = call(*args, **kwargs)
    for variable, old in zip(layer.variables, before, strict=True):
        new = scope.get_current_value(variable)
        if new is not old:
            variable.assign(new)
    return outputs
