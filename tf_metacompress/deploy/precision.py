"""Runs a mixed-precision model in float32 for a while: the runtime has no float16 arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

_FLOAT32 = "float32"


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    found: dict[int, keras.layers.Layer] = {}

    def visit(layer: keras.layers.Layer) -> None:
        if id(layer) in found:
            return
        found[id(layer)] = layer
        for child in getattr(layer, "layers", None) or ():
            visit(child)
        if isinstance(layer, keras.layers.Wrapper):
            visit(layer.layer)

    visit(model)
    return list(found.values())


@contextmanager
def float32_compute(model: keras.Model) -> Iterator[None]:
    """Lets every layer compute in float32 within a `with` block.

    Weights of a mixed-precision model are float32 already. The policies are put back at the end.

    Args:
        model: Any Keras 3 model.
    """
    policies = [(layer, layer.dtype_policy) for layer in _all_layers(model)]
    reduced = [(layer, policy) for layer, policy in policies if policy.compute_dtype != _FLOAT32]
    try:
        for layer, _ in reduced:
            layer.dtype_policy = _FLOAT32
        yield
    finally:
        for layer, policy in reduced:
            layer.dtype_policy = policy
