"""Layers whose second-order gradients TensorFlow gets wrong without saying so."""

import keras
import tensorflow as tf

from tf_metacompress.errors import MissingGradientError, SecondOrderGradientError
from tf_metacompress.layer_tree import inner_layers

_ALWAYS_WRONG = (keras.layers.LayerNormalization, keras.layers.GroupNormalization)
_WRONG_IN_TRAINING = (keras.layers.BatchNormalization,)


def check_second_order(model: keras.Model, training: bool = False) -> None:
    """Refuses a model whose second-order gradients would be silently wrong, or cannot be built.

    The variance in layers that normalise comes from `tf.nn.moments`, which stops a gradient inside;
    BatchNormalization is exact on its moving statistics (`training=False`). The gradient of a
    bilinear resize has none itself, which counts as zero; in front of all weights it is harmless.

    Args:
        model: A built Keras 3 model.
        training: Whether the inner loop runs the model in training mode.

    Raises:
        SecondOrderGradientError: Naming the layers and the way out.
    """
    kinds = _ALWAYS_WRONG + (_WRONG_IN_TRAINING if training else ())
    wrong, has_weights = [], False
    for path, layer in inner_layers(model).items():
        if isinstance(layer, kinds) or _is_softsign(layer) or (has_weights and _resizes(layer)):
            wrong.append(path)
        has_weights = has_weights or bool(layer.trainable_variables)
    if wrong:
        raise SecondOrderGradientError(
            "Second-order gradients through these layers are silently wrong or missing in "
            f"TensorFlow. Received: layers={wrong}. Use a first-order learner (FirstOrderMAML, "
            "Reptile; first_order=True), or BatchNormalization on its moving statistics, "
            'UpSampling2D with "nearest", and activations other than softsign.',
            layers=wrong,
        )


def _resizes(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.UpSampling2D):
        return layer.interpolation != "nearest"
    return isinstance(layer, keras.layers.Resizing)


def _is_softsign(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "activation", None) is keras.activations.softsign


def require_gradients(gradients: list, names: list[str]) -> list:
    """Raises when a gradient is missing instead of letting it count as zero.

    Args:
        gradients: What a tape returned.
        names: Name of what each belongs to.

    Returns:
        The gradients as dense tensors; that of an embedding arrives as some of its rows.

    Raises:
        MissingGradientError: Naming what has none.
    """
    missing = [name for g, name in zip(gradients, names, strict=True) if g is None]
    if missing:
        raise MissingGradientError(
            "The loss does not depend on everything it should, or an operation has no gradient of "
            f"this order. Received: no gradient for {missing}."
        )
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
