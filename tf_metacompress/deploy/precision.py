"""Runs a model of another precision in float32 for a while: the runtime has no other arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from tf_metacompress.layer_tree import inner_layers

_FLOAT32 = "float32"


class _Float32Compute(keras.DTypePolicy):
    """Computes in float32 with weights that stay in the type they have."""

    def __init__(self, weights: str) -> None:
        super().__init__(_FLOAT32)
        self._weights = weights

    @property
    def variable_dtype(self) -> str:
        """Type of the weights, which Keras casts where it differs from that of the arithmetic."""
        return self._weights


@contextmanager
def float32_compute(model: keras.Model) -> Iterator[None]:
    """Lets every layer compute in float32 within a `with` block.

    The weights keep their type and are cast where they are used. The policies are put back at the
    end.

    Args:
        model: Any Keras 3 model.
    """
    layers = [model, *inner_layers(model).values()]
    policies = [(layer, layer.dtype_policy) for layer in layers]
    reduced = [(layer, policy) for layer, policy in policies if policy.compute_dtype != _FLOAT32]
    try:
        for layer, policy in reduced:
            layer.dtype_policy = _Float32Compute(policy.variable_dtype)
        yield
    finally:
        for layer, policy in reduced:
            layer.dtype_policy = policy
