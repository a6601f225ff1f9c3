"""Any Keras optimizer as a pure function of its state."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_metacompress.errors import wrong_type

Tensors = tuple[tf.Tensor, ...]


class OuterOptimizer:
    """Steps Φ with a Keras optimizer without keeping anything between steps.

    Keras has no stateless optimizer on TensorFlow, so the state is written into variables before a
    step and read back after it; a caller sees new tensors made of old ones.

    Args:
        optimizer: Any Keras optimizer that was not built yet.
        phi: Tensors of the shapes and dtypes to be stepped.
    """

    def __init__(self, optimizer: keras.Optimizer, phi: Sequence[tf.Tensor]) -> None:
        if not isinstance(optimizer, keras.Optimizer):
            raise wrong_type("`optimizer` must be a Keras optimizer.", optimizer=optimizer)
        self._optimizer = optimizer
        self._phi = [keras.Variable(tensor) for tensor in phi]
        optimizer.build(self._phi)
        self._initial = _read(optimizer.variables)

    def init(self) -> Tensors:
        """The optimizer's state before the first step."""
        return self._initial

    def apply(
        self, state: Sequence[tf.Tensor], phi: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor]
    ) -> tuple[Tensors, Tensors]:
        """Takes one step.

        Args:
            state: The optimizer's state.
            phi: What to step.
            gradients: One a tensor of `phi`.

        Returns:
            The next state and the stepped tensors.
        """
        _write(self._optimizer.variables, state)
        _write(self._phi, phi)
        self._optimizer.apply(list(gradients), self._phi)
        return _read(self._optimizer.variables), _read(self._phi)


def _read(variables: Sequence[keras.Variable]) -> Tensors:
    return tuple(tf.identity(tf.convert_to_tensor(variable)) for variable in variables)


def _write(variables: Sequence[keras.Variable], tensors: Sequence[tf.Tensor]) -> None:
    for variable, tensor in zip(variables, tensors, strict=True):
        variable.assign(tensor)
