"""Meta-SGD: the direction of an inner step is learned too."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid
from tf_metacompress.meta.learners.maml import MAML
from tf_metacompress.meta.learners.network import Tensors


class MetaSGD(MAML):
    """MAML with a learned inner rate for every single weight.

    Paper: Li et al. 2017, arXiv:1707.09835.

    Args:
        model: A built Keras 3 model; see `MetaLearner`. `inner_lr` is where all rates start.
        **kwargs: Passed to `MAML`.

    Raises:
        InvalidArgumentError: If the options ask for rates of another kind.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        if self.options.learn_inner_lr:
            raise invalid("Meta-SGD learns a rate for every weight already.", learn_inner_lr=True)
        for index in self.inner_weights:
            weight = self.network.weights[index]
            self.add_extra(f"inner_lr_{index}", np.full(weight.shape, self.inner_lr))

    def changes(
        self, extras: Tensors, step: int, gradients: Sequence[tf.Tensor]
    ) -> Sequence[tf.Tensor]:
        """Each gradient times its rates."""
        del step
        return [rates * gradient for rates, gradient in zip(extras, gradients, strict=True)]
