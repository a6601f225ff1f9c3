"""The layers inside a model by path, and the redirection of their calls.

Every technique of this package acts on a layer by redirecting its `call` on the instance. Keras
looks `call` up at each invocation, so this reaches a layer wherever it is used: in Sequential,
Functional, nested and subclassed models, once or several times, without rebuilding a graph.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import UnsupportedModelError

Call = Callable[..., Any]


def _children(layer: keras.layers.Layer, into_cells: bool = False) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    if isinstance(layer, keras.layers.RNN) and not into_cells:
        return []
    return list(_layers_in(list(vars(layer).values())))


def _layers_in(values: Iterable[Any]) -> Iterator[keras.layers.Layer]:
    for value in values:
        if isinstance(value, keras.layers.Layer):
            yield value
        elif isinstance(value, dict):
            yield from _layers_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _layers_in(value)


def _unused(path: str, used: Mapping[str, Any]) -> str:
    numbered = (f"{path}_{number}" for number in itertools.count(1))
    return next(name for name in itertools.chain([path], numbered) if name not in used)


def leaf_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Lists the innermost layers of a model by path.

    Layers inside custom layers, attention blocks and wrappers are found too, through the attributes
    that hold them. A recurrent layer acts as a whole: its cell is not listed.

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
    return {path: layer for path, layer in _tree(model).items() if not _children(layer)}


def composite_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Lists the layers of a model that hold other layers and weights of their own besides.

    Args:
        model: Any Keras 3 model.

    Returns:
        Paths to layers; `leaf_layers` lists what is inside them.
    """
    return {
        path: layer
        for path, layer in _tree(model).items()
        if _children(layer) and own_weights(layer)
    }


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Lists the weights of a layer that belong to no layer inside it.

    Args:
        layer: Any Keras layer.

    Returns:
        Variables.
    """
    inner = {id(weight) for child in _children(layer) for weight in child.weights}
    return [weight for weight in layer.weights if id(weight) not in inner]


def weight_of(layer: keras.layers.Layer, name: str) -> keras.Variable:
    """Finds a weight of a layer.

    Args:
        layer: A built layer.
        name: Its attribute; "cell.kernel" for the kernel of a recurrent layer's cell.

    Returns:
        The variable.
    """
    return operator.attrgetter(name)(layer)


def _tree(model: keras.Model, into_cells: bool = False) -> dict[str, keras.layers.Layer]:
    """All layers of a model by path, each once, containing ones before what they hold."""
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = {id(model)}

    def visit(layer: keras.layers.Layer, prefix: str) -> None:
        for child in _children(layer, into_cells):
            if id(child) in seen or isinstance(child, keras.layers.InputLayer):
                continue
            seen.add(id(child))
            path = _unused(f"{prefix}{child.name}", found)
            found[path] = child
            visit(child, f"{path}/")

    visit(model, "")
    return found


def inner_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Lists all layers of a model by path: innermost ones, those that hold them, and cells.

    Args:
        model: Any Keras 3 model.

    Returns:
        Paths to layers.
    """
    return _tree(model, into_cells=True)


def layer_names(model: keras.Model) -> list[str]:
    """Lists the names of all layers inside a model, those inside custom layers too, in order."""
    return [layer.name for layer in inner_layers(model).values()]


def give_names(model: keras.Model, names: Sequence[str]) -> None:
    """Names the layers of a model after those of the model it was made from.

    Layers that a user's class makes without a name get a new one, counted up, each time.

    Args:
        model: A model made from another's config.
        names: What `layer_names` gave for the other.

    Raises:
        UnsupportedModelError: When the models do not have as many layers.
    """
    layers = list(inner_layers(model).values())
    if len(layers) != len(names):
        raise UnsupportedModelError(
            "A model made from its config must have the layers it had. "
            f"Received: model={model.name!r} with {len(layers)} layers in place of {len(names)}. "
            "Make all layers in `__init__` or `build`."
        )
    for layer, name in zip(layers, names, strict=True):
        if layer.name != name:
            layer.name = name


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
    replaced = {id(weight_of(layer, name)): value for name, value in substitutes.items()}
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
