"""What is given to a file, brought into the form of one array an input."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_metacompress.errors import invalid

Inputs = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]


def arrays_by_name(inputs: Inputs, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Brings a batch into the form of a mapping.

    Args:
        inputs: One array of shape (N, ...) an input: alone, in order, or by name.
        shapes: Input name to its full shape (1, ...).

    Returns:
        Input name to array of shape (N, ...).

    Raises:
        InvalidArgumentError: If the arrays do not fit the inputs.

    Example:
        >>> arrays_by_name(np.zeros((5, 3)), {"x": (1, 3)})["x"].shape
        (5, 3)
    """
    if isinstance(inputs, Mapping):
        arrays = {name: np.asarray(inputs[name]) for name in shapes if name in inputs}
    else:
        several = isinstance(inputs, list | tuple) and len(shapes) > 1
        values = inputs if several else [inputs]
        arrays = dict(zip(shapes, map(np.asarray, values), strict=False))
    expected = {name: tuple(shape[1:]) for name, shape in shapes.items()}
    given = {name: array.shape for name, array in arrays.items()}
    lengths = {shape[:1] for shape in given.values()}
    fits = {name: shape[1:] for name, shape in given.items()} == expected
    if not fits or len(lengths) != 1 or 0 in next(iter(lengths)):
        wanted = ", ".join(f"{name}: (N, {_join(shape)})" for name, shape in expected.items())
        raise invalid(f"The arrays must fit the file's inputs, {wanted}.", shapes=given)
    return arrays


def _join(shape: tuple[int, ...]) -> str:
    return ", ".join(str(int(extent)) for extent in shape)
