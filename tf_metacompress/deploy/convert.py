"""A Keras model as the bytes of a float32 .tflite file."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.anatomy.signature import ModelSignature, model_signature, output_names
from tf_metacompress.deploy.precision import float32_compute
from tf_metacompress.errors import UnsupportedModelError

SIGNATURE_KEY = "serving_default"
_LACKING_OPS = re.compile(r"(?:Select|Custom) ops: (.+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A model converted to float32.

    Attributes:
        data: The .tflite file.
        signature: The inputs.
        output_names: Names of the outputs, in the order Keras flattens them.
    """

    data: bytes = field(repr=False)
    signature: ModelSignature
    output_names: tuple[str, ...]


def convert_float(model: keras.Model, *, dynamic_batch: bool = False) -> Conversion:
    """Converts a model to float32, batch size one, with named inputs and outputs.

    The weights enter the graph as constants, so the converter folds BatchNormalization and the
    runtime finds one partition. The model is not changed.

    Args:
        model: A built Keras 3 model of any kind, in any dtype policy.
        dynamic_batch: Whether the batch size is left open; one is then what the file starts with.

    Returns:
        The file and the names in it.

    Raises:
        UnsupportedModelError: If an input has an unknown extent or the converter cannot express
            the model.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> convert_float(model).output_names
        ('output_0',)
    """
    signature = model_signature(model)
    constants = [(variable, tf.constant(variable.numpy())) for variable in model.variables]
    names: list[str] = []

    @tf.function(input_signature=_specs(signature, dynamic_batch), autograph=False)
    def frozen(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        packed = signature.pack(dict(zip(signature.names, tensors, strict=True)))
        with keras.StatelessScope(state_mapping=constants):
            outputs = model(packed, training=False)
        names[:] = output_names(model, outputs)
        return dict(zip(names, keras.tree.flatten(outputs), strict=True))

    data = _converted(model, frozen)
    return Conversion(data=data, signature=signature, output_names=tuple(names))


def _specs(signature: ModelSignature, dynamic_batch: bool) -> list[tf.TensorSpec]:
    specs = signature.tensor_specs()
    if not dynamic_batch:
        return specs
    return [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, spec.name) for spec in specs]


def _converted(model: keras.Model, frozen: Any) -> bytes:
    try:
        with float32_compute(model):
            function = frozen.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        return bytes(converter.convert())
    except Exception as error:
        reason = _reason(error)
        raise UnsupportedModelError(
            f"The model cannot be converted to LiteRT: {reason}. Received: model={model.name!r}. "
            "Replace the layer it names by one that LiteRT can express."
        ) from error


def _reason(error: Exception) -> str:
    text = _ANSI.sub("", str(error)) or type(error).__name__
    lacking = _LACKING_OPS.search(text)
    if lacking:
        return f"LiteRT has no operator for {lacking[1].strip()}"
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(" ".join(lines[:2]).split())[:300].rstrip(".")
