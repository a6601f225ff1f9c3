"""Layers whose second-order gradients TensorFlow gets wrong without saying so."""

import keras

from tf_metacompress.errors import MissingGradientError, SecondOrderGradientError
from tf_metacompress.layer_tree import inner_layers

_ALWAYS_WRONG = (keras.layers.LayerNormalization, keras.layers.GroupNormalization)
_WRONG_IN_TRAINING = (keras.layers.BatchNormalization,)


def check_second_order(model: keras.Model, training: bool = False) -> None:
    """Refuses a model whose second-order gradients would be silently wrong.

    The variance in these layers comes from `tf.nn.moments`, which stops a gradient inside.
    BatchNormalization is exact on its moving statistics (`training=False`).

    Args:
        model: A built Keras 3 model.
        training: Whether the inner loop runs the model in training mode.

    Raises:
        SecondOrderGradientError: Naming the layers and the way out.
    """
    kinds = _ALWAYS_WRONG + (_WRONG_IN_TRAINING if training else ())
    wrong = [path for path, layer in inner_layers(model).items() if isinstance(layer, kinds)]
    if wrong:
        raise SecondOrderGradientError(
            "Second-order gradients through these layers are silently wrong in TensorFlow. "
            f"Received: layers={wrong}. Use first_order=True, or normalise with "
            "BatchNormalization on its moving statistics.",
            layers=wrong,
        )


def require_gradients(gradients: list, names: list[str]) -> list:
    """Raises when a gradient is missing instead of letting it count as zero.

    Args:
        gradients: What a tape returned.
        names: Name of what each belongs to.

    Returns:
        The gradients.

    Raises:
        MissingGradientError: Naming what has none.
    """
    missing = [name for g, name in zip(gradients, names, strict=True) if g is None]
    if missing:
        raise MissingGradientError(
            "The loss does not depend on everything it should, or an operation has no gradient of "
            f"this order. Received: no gradient for {missing}."
        )
    return gradients
