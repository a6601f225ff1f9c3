"""ANIL: adaptation moves the head only."""

from collections.abc import Sequence
from typing import Any

import keras

from tf_metacompress.anatomy import check_keras_model
from tf_metacompress.errors import did_you_mean, invalid
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.meta.learners.maml import MAML


class ANIL(MAML):
    """Almost no inner loop: the body is meta-learned, only the head adapts.

    Paper: Raghu et al. 2020, arXiv:1909.09157.

    Args:
        model: A built Keras 3 model; see `MetaLearner`.
        head: Path of the layer that adapts, as `leaf_layers` names it; None for the last one that
            has trainable weights.
        **kwargs: Passed to `MAML`.

    Raises:
        InvalidArgumentError: If the model has no such layer, or nothing in it can be trained.
    """

    def __init__(self, model: keras.Model, *, head: str | None = None, **kwargs: Any) -> None:
        check_keras_model(model)
        layers = {p: x for p, x in leaf_layers(model).items() if x.trainable_variables}
        if head is not None and head not in layers:
            fix = did_you_mean(head, layers)
            raise invalid("`head` must be the path of a layer with weights.", fix, head=head)
        self.head = head or next(reversed(layers), "")
        super().__init__(model, **kwargs)

    @property
    def inner_weights(self) -> Sequence[int]:
        """Indices of the weights of the head."""
        network = getattr(self.model, "network", self.model)
        head = {id(v) for v in leaf_layers(network)[self.head].trainable_variables}
        return [index for index, v in enumerate(self.network.weights) if id(v) in head]
