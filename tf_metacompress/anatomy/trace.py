"""One run of a model, recorded call by call: works on any kind of model."""

from dataclasses import dataclass, field, replace
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import MetacompressError, UnsupportedModelError, invalid
from tf_metacompress.layer_tree import Call, leaf_layers, redirected

_UNKNOWN_EXTENT = 16


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
    """

    path: str
    layer: keras.layers.Layer
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    producers: tuple[int, ...]
    is_float_tensor: bool = True
    is_output: bool = False


@dataclass
class _Recorder:
    calls: list[LayerCall] = field(default_factory=list)
    made_by: dict[int, int] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)

    def wrap(self, path: str, layer: keras.layers.Layer, call: Call) -> Call:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
            self.record(path, layer, inputs, outputs)
            return outputs

        return recorded

    def record(self, path: str, layer: keras.layers.Layer, inputs: list[Any], result: Any) -> None:
        outputs = tf.nest.flatten(result)
        passed_on = {id(tensor) for tensor in inputs}
        if outputs and id(outputs[0]) in passed_on:
            return
        call = LayerCall(
            path=path,
            layer=layer,
            input_shapes=tuple(tuple(tensor.shape) for tensor in inputs),
            output_shape=tuple(outputs[0].shape) if outputs else (),
            producers=tuple(self.made_by.get(id(tensor), -1) for tensor in inputs),
            is_float_tensor=bool(tf.is_tensor(result) and result.dtype.is_floating),
        )
        self.alive.extend([*inputs, *outputs])
        for tensor in outputs:
            self.made_by[id(tensor)] = len(self.calls)
        self.calls.append(call)

    def finish(self, outputs: Any) -> tuple[LayerCall, ...]:
        returned = {self.made_by.get(id(tensor), -1) for tensor in tf.nest.flatten(outputs)}
        return tuple(
            replace(call, is_output=index in returned) for index, call in enumerate(self.calls)
        )


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
    """Runs a model once on zeros and records the call of every innermost layer.

    A layer that hands its input on unchanged (Dropout at inference) is left out, so producers are
    the calls that really computed.

    Args:
        model: A built Keras model. It is not changed.

    Returns:
        The calls in execution order.

    Raises:
        UnsupportedModelError: When the model fails on zeros.
    """
    recorder = _Recorder()
    inputs = example_inputs(model)
    try:
        with redirected(leaf_layers(model), recorder.wrap):
            outputs = model(inputs, training=False)
    except MetacompressError:
        raise
    except Exception as error:
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        raise UnsupportedModelError(
            "A model is read by running it on one example of zeros, and this one failed. "
            f"Received: model={model.name!r}, input shapes={shapes}, "
            f"error={' '.join(str(error).split())[:300]!r}. "
            "Make it run on that, or wrap it in a Functional model with one input structure."
        ) from error
    return recorder.finish(outputs)
