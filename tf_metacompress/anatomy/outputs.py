"""What the outputs of a classifier are: probabilities or logits."""

import keras

from tf_metacompress.anatomy.trace import trace


def gives_probabilities(model: keras.Model) -> bool:
    """Whether the last layer that computes ends in softmax.

    Args:
        model: A built Keras 3 model.

    Returns:
        True for softmax, as an activation or a layer of its own.
    """
    last = trace(model)[-1].layer
    if isinstance(last, keras.layers.Softmax):
        return True
    return getattr(last, "activation", None) is keras.activations.softmax


def classification_loss(model: keras.Model) -> keras.losses.Loss:
    """Cross-entropy for class indices that fits the outputs of a classifier.

    Args:
        model: A built Keras 3 model with one output (batch, classes).

    Returns:
        Sparse categorical cross-entropy on probabilities or on logits.
    """
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not gives_probabilities(model))
