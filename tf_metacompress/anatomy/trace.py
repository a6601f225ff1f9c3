"""One run of a model, recorded call by call: works on any kind of model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.anatomy.reading import (
    Key,
    OpOwners,
    key_of,
    live_operations,
    source_of,
)
from tf_metacompress.errors import MetacompressError, UnsupportedModelError, invalid
from tf_metacompress.layer_tree import Call, leaf_layers, redirected

_UNKNOWN_EXTENT = 16
_CLIPS = ("Relu", "Relu6")


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of one layer.

    Attributes:
        path: Path of the layer within the model.
        layer: The layer.
        input_shapes: Shapes of the tensors that went in, batch size one.
        output_shape: Shape of the (first) tensor that came out.
        producers: Index of the call that made each input; −1 for the model's input or a plain op.
        is_float_tensor: Whether one floating tensor came out, neither integers nor a structure.
        is_output: Whether the model returns a tensor that came out.
        read_by_op: Whether an operator that no layer called, such as `x + y`, reads what came out.
        clipped_by: Type of the plain operator, "Relu" or "Relu6", that alone reads what came out.
        weights_read_elsewhere: Whether something else than calls of this layer reads its weights.
    """

    path: str
    layer: keras.layers.Layer
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    producers: tuple[int, ...]
    is_float_tensor: bool = True
    is_output: bool = False
    read_by_op: bool = False
    clipped_by: str | None = None
    weights_read_elsewhere: bool = False


@dataclass
class _Recorder:
    calls: list[LayerCall] = field(default_factory=list)
    made_by: dict[Key, int] = field(default_factory=dict)
    made: list[list[tf.Tensor]] = field(default_factory=list)
    owners: OpOwners = field(default_factory=OpOwners)

    def wrap(self, path: str, layer: keras.layers.Layer, call: Call) -> Call:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.owners.skip()
            outputs = call(*args, **kwargs)
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
            self.record(path, layer, inputs, outputs)
            return outputs

        return recorded

    def record(self, path: str, layer: keras.layers.Layer, inputs: list[Any], result: Any) -> None:
        outputs = [tensor for tensor in tf.nest.flatten(result) if tf.is_tensor(tensor)]
        passed_on = {key_of(tensor) for tensor in inputs}
        if outputs and key_of(outputs[0]) in passed_on:
            return
        call = LayerCall(
            path=path,
            layer=layer,
            input_shapes=tuple(_shape(tensor) for tensor in inputs),
            output_shape=_shape(outputs[0]) if outputs else (),
            producers=tuple(self._maker(tensor) for tensor in inputs),
            is_float_tensor=bool(tf.is_tensor(result) and result.dtype.is_floating),
        )
        self.owners.assign(len(self.calls))
        for tensor in outputs:
            self.made_by[key_of(tensor)] = len(self.calls)
        self.calls.append(call)
        self.made.append(outputs)

    def _maker(self, tensor: tf.Tensor) -> int:
        return self.made_by.get(key_of(source_of(tensor, self.made_by)), -1)

    def finish(self, outputs: Any, readings: Mapping[int, tf.Tensor]) -> tuple[LayerCall, ...]:
        """Adds what is only known at the end: who read what.

        Args:
            outputs: What the model returned.
            readings: Id of each variable to the tensor that stood for it.
        """
        self.owners.skip()
        returned = {self._maker(tensor) for tensor in tf.nest.flatten(outputs)}
        live = live_operations(tf.nest.flatten(outputs))
        foreign = self._read_elsewhere(readings, live)
        calls = []
        for index, call in enumerate(self.calls):
            readers = [r for tensor in self.made[index] for r in self.owners.readers(tensor, live)]
            is_clipped = len(readers) == 1 and index not in returned
            clips = is_clipped and readers[0].call is None and readers[0].operator in _CLIPS
            known = replace(
                call,
                is_output=index in returned,
                read_by_op=any(reader.call is None for reader in readers),
                clipped_by=readers[0].operator if clips else None,
                weights_read_elsewhere=any(id(v) in foreign for v in call.layer.variables),
            )
            calls.append(known)
        return tuple(calls)

    def _read_elsewhere(
        self, readings: Mapping[int, tf.Tensor], live: frozenset[Key]
    ) -> frozenset[int]:
        users: dict[int, set[int]] = {}
        owners: dict[int, set[str]] = {}
        for index, call in enumerate(self.calls):
            for variable in call.layer.variables:
                users.setdefault(id(variable), set()).add(index)
                owners.setdefault(id(variable), set()).add(call.path)
        shared = {variable for variable, paths in owners.items() if len(paths) > 1}
        return shared | {
            variable
            for variable, tensor in readings.items()
            if any(r.call not in users.get(variable, ()) for r in self.owners.readers(tensor, live))
        }


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...]:
    return tuple(tensor.shape) if tensor.shape.rank is not None else ()


def _zeros(shape: Any, dtype: str) -> tf.Tensor:
    extents = [1, *(_UNKNOWN_EXTENT if n is None else n for n in list(shape)[1:])]
    return tf.zeros(extents, dtype)


def example_inputs(model: keras.Model) -> Any:
    """Makes a batch of one, all zeros, in the structure the model takes.

    Args:
        model: A built Keras model. Unknown extents become 16.

    Returns:
        A tensor, or a structure of tensors.

    Raises:
        InvalidArgumentError: When the model does not tell the shape of its inputs.
    """
    if getattr(model, "inputs", None):
        is_sequential = isinstance(model, keras.Sequential)
        structure = model.inputs[0] if is_sequential else model.input
        return tf.nest.map_structure(lambda t: _zeros(t.shape, t.dtype), structure)
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        raise invalid(
            "The model does not tell the shape of its inputs.",
            "Call it once on data before passing it.",
            model=model.name,
        )
    if isinstance(shapes, dict):
        return {key: _zeros(shape, "float32") for key, shape in shapes.items()}
    if shapes and isinstance(shapes[0], (list, tuple)):
        return [_zeros(shape, "float32") for shape in shapes]
    return _zeros(shapes, "float32")


def trace(model: keras.Model) -> tuple[LayerCall, ...]:
    """Traces a model on one example and records the call of every innermost layer.

    Nothing is computed and no state changes. A layer that hands its input on unchanged (Dropout at
    inference) is left out, so producers are the calls that really compute.

    Args:
        model: A built Keras model. It is not changed.

    Returns:
        The calls in execution order.

    Raises:
        UnsupportedModelError: When the model cannot be traced.
    """
    inputs = example_inputs(model)
    found: list[tuple[LayerCall, ...]] = []

    @tf.function(autograph=False)
    def traced() -> None:
        recorder = _Recorder()
        variables = [(v, tf.identity(tf.convert_to_tensor(v))) for v in model.variables]
        with (
            keras.StatelessScope(state_mapping=variables) as scope,
            redirected(leaf_layers(model), recorder.wrap),
        ):
            readings = {id(v): scope.get_current_value(v) for v, _ in variables}
            outputs = model(tf.nest.map_structure(tf.identity, inputs), training=False)
        found.append(recorder.finish(outputs, readings))

    try:
        traced.get_concrete_function()
    except MetacompressError:
        raise
    except Exception as error:
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        raise UnsupportedModelError(
            "A model is read by tracing it on one example, and this one failed. "
            f"Received: model={model.name!r}, input shapes={shapes}, "
            f"error={' '.join(str(error).split())[:300]!r}. "
            "Make it run on that in a tf.function, or wrap it in a Functional model with one "
            "input structure."
        ) from error
    return found[0]
