"""What goes into a model and what comes out, by name, at batch size one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.errors import UnsupportedModelError, invalid

_AUTOMATIC_NAME = re.compile(r"(keras_tensor|input_layer|input)(_\d+)?$")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One input: its name in the file, its shape without the batch axis, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """The inputs of a model and the structure it takes them in.

    Attributes:
        inputs: The inputs in the order Keras flattens them.
        structure: What the model is called with; the leaves stand for `inputs`.
    """

    inputs: tuple[InputSpec, ...]
    structure: Any

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)

    def pack(self, tensors: Mapping[str, Any]) -> Any:
        """Arranges tensors, given by input name, as the model takes them."""
        flat = [tensors[name] for name in self.names]
        return keras.tree.pack_sequence_as(self.structure, flat)

    def tensor_specs(self) -> list[tf.TensorSpec]:
        """Gives the specification of each input at batch size one."""
        return [tf.TensorSpec((1, *spec.shape), spec.dtype, spec.name) for spec in self.inputs]


def unique_names(wished: Iterable[str]) -> tuple[str, ...]:
    """Makes names that a signature can hold: letters, digits, underscores, each one once.

    Args:
        wished: Names as the user gave them.

    Returns:
        As many names.

    Example:
        >>> unique_names(["head/a", "head a", "b"])
        ('head_a', 'head_a_1', 'b')
    """
    names: list[str] = []
    for wish in wished:
        base = re.sub(r"\W+", "_", wish, flags=re.ASCII).strip("_") or "tensor"
        name, count = base, 0
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return tuple(names)


def _input_names(given: Sequence[str]) -> tuple[str, ...]:
    """Replaces the names that Keras counts up, so that the same model gives the same file."""
    alone = len(given) == 1
    automatic = ["input" if alone else f"input_{index}" for index in range(len(given))]
    chosen = [
        default if _AUTOMATIC_NAME.match(name) else name
        for name, default in zip(given, automatic, strict=True)
    ]
    return unique_names(chosen)


def _declared(model: keras.Model) -> tuple[Any, list[str], list[tuple], list[str]]:
    """Structure, names, shapes and dtypes of a model with symbolic inputs."""
    tensors = model.inputs
    structure = tensors[0] if isinstance(model, keras.Sequential) else model.input
    names = [tensor.name for tensor in tensors]
    return structure, names, [tuple(t.shape) for t in tensors], [str(t.dtype) for t in tensors]


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(n is None or isinstance(n, int) for n in value)


def _remembered(model: keras.Model) -> tuple[Any, list[str], list[tuple], list[str]]:
    """Structure, names, shapes and dtypes of a model that was built by a call."""
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        raise invalid(
            "The model does not tell the shape of its inputs.",
            "Call it once on data before exporting it.",
            model=model.name,
        )
    if _is_shape(shapes):
        return "input", ["input"], [tuple(shapes)], ["float32"]
    if isinstance(shapes, Mapping) and all(_is_shape(shape) for shape in shapes.values()):
        names = sorted(shapes)
        structure = {name: name for name in names}
        return structure, names, [tuple(shapes[n]) for n in names], ["float32"] * len(names)
    if all(_is_shape(shape) for shape in shapes):
        names = [f"input_{index}" for index in range(len(shapes))]
        return names, names, [tuple(shape) for shape in shapes], ["float32"] * len(names)
    raise UnsupportedModelError(
        "Inputs nested deeper than one list or dictionary are not supported. "
        f"Received: model={model.name!r} with input shapes {shapes!r}."
    )


def _check_static(name: str, shape: tuple[int | None, ...]) -> None:
    if None in shape[1:]:
        fixed = ", ".join("?" if extent is None else str(extent) for extent in shape[1:])
        raise UnsupportedModelError(
            f"Every extent but the batch must be known for export. Received: input {name!r} of "
            f"shape {shape}. Build the model with keras.Input(({fixed},)), numbers in place of "
            "the question marks, and load the weights into it."
        )


def model_signature(model: keras.Model) -> ModelSignature:
    """Reads what goes into a model.

    Args:
        model: A built Keras 3 model of any kind.

    Returns:
        Its inputs, named after the user's `keras.Input(name=…)`, else "input" or "input_0", ….

    Raises:
        UnsupportedModelError: If an extent other than the batch is not known.
        InvalidArgumentError: If the model does not tell the shape of its inputs.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> model_signature(model).inputs
        (InputSpec(name='input', shape=(8, 8, 1), dtype='float32'),)
    """
    symbolic = bool(getattr(model, "inputs", None))
    structure, names, shapes, dtypes = _declared(model) if symbolic else _remembered(model)
    for name, shape in zip(names, shapes, strict=True):
        _check_static(name, shape)
    specs = zip(_input_names(names), shapes, dtypes, strict=True)
    inputs = tuple(
        InputSpec(name=name, shape=shape[1:], dtype=dtype) for name, shape, dtype in specs
    )
    return ModelSignature(inputs=inputs, structure=structure)


def output_names(model: keras.Model, outputs: Any) -> tuple[str, ...]:
    """Names the outputs of a model.

    Args:
        model: The model.
        outputs: What it returned, a tensor or a structure of tensors.

    Returns:
        Dictionary keys, else names of output layers, else "output_0", …; one a flattened tensor.
    """
    paths = keras.tree.flatten(_paths(outputs))
    if isinstance(outputs, Mapping):
        return unique_names(paths)
    if len(paths) == 1:
        return ("output_0",)
    names = getattr(model, "output_names", None)
    if names and len(names) == len(paths):
        return unique_names(names)
    return tuple(f"output_{index}" for index in range(len(paths)))


def _paths(structure: Any, prefix: str = "") -> Any:
    """Replaces each leaf by the keys that lead to it."""
    if isinstance(structure, Mapping):
        return {key: _paths(item, f"{prefix}{key}_") for key, item in structure.items()}
    if isinstance(structure, list | tuple):
        return [_paths(item, f"{prefix}{index}_") for index, item in enumerate(structure)]
    return prefix.rstrip("_") or "output"
