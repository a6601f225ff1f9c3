"""How a global sparsity is spread over layers, without looking at data.

All functions act on the kernels as NumPy arrays. Except `uniform`, they never empty a layer: its
largest weight is always kept.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tf_metacompress.errors import check_fraction, invalid

Distribution = Callable[[Sequence[np.ndarray], float], np.ndarray]
"""Maps the kernels of L layers and a global sparsity to L sparsities."""


def uniform(kernels: Sequence[np.ndarray], sparsity: float) -> np.ndarray:
    """Gives every layer the same sparsity.

    Args:
        kernels: Weights of L layers, any shapes.
        sparsity: Fraction of all weights to remove, in [0, 1).

    Returns:
        Sparsities, float64 of shape (L,).

    Raises:
        InvalidArgumentError: If there are no kernels, or the sparsity is out of range.

    Example:
        >>> uniform([np.ones(4), np.ones(8)], 0.5).tolist()
        [0.5, 0.5]
    """
    kernels, sparsity = _checked(kernels, sparsity)
    return np.full(len(kernels), sparsity)


def erk(kernels: Sequence[np.ndarray], sparsity: float) -> np.ndarray:
    """Keeps more of small layers: the Erdős–Rényi kernel distribution.

    A layer's kept fraction is proportional to the sum of its kernel's dimensions divided by their
    product. Layers that would keep more than everything are kept dense, and the rest bears the
    difference.

    Paper: Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners",
        2020,
    arXiv:1911.11134.

    Args:
        kernels: Weights of L layers, any shapes.
        sparsity: Fraction of all weights to remove, in [0, 1).

    Returns:
        Sparsities, float64 of shape (L,), in [0, 1).

    Raises:
        InvalidArgumentError: If there are no kernels, or the sparsity is out of range.

    Example:
        >>> erk([np.ones((3, 3, 4, 8)), np.ones((128, 64))], 0.9).round(2).tolist()
        [0.75, 0.91]
    """
    kernels, sparsity = _checked(kernels, sparsity)
    sizes = np.array([kernel.size for kernel in kernels], dtype=np.float64)
    raw = np.array([sum(kernel.shape) for kernel in kernels]) / sizes
    dense = np.zeros(len(kernels), dtype=bool)
    kept = np.ones(len(kernels))
    while not dense.all():
        spare = (1.0 - sparsity) * sizes.sum() - sizes[dense].sum()
        kept = np.where(dense, 1.0, raw * spare / (raw * sizes)[~dense].sum())
        if (kept <= 1.0).all():
            break
        dense |= kept >= kept.max()
        kept = np.ones(len(kernels))
    return 1.0 - kept


def global_magnitude(kernels: Sequence[np.ndarray], sparsity: float) -> np.ndarray:
    """Removes the smallest weights of all layers together.

    Args:
        kernels: Weights of L layers, any shapes.
        sparsity: Fraction of all weights to remove, in [0, 1).

    Returns:
        Sparsities, float64 of shape (L,), in [0, 1).

    Raises:
        InvalidArgumentError: If there are no kernels, or the sparsity is out of range.

    Example:
        >>> global_magnitude([np.array([1.0, 2.0]), np.array([3.0, 4.0])], 0.25).tolist()
        [0.5, 0.0]
    """
    kernels, sparsity = _checked(kernels, sparsity)
    return _remove_smallest([np.abs(kernel) for kernel in kernels], sparsity)


def lamp(kernels: Sequence[np.ndarray], sparsity: float) -> np.ndarray:
    """Removes the weights with the smallest LAMP scores of all layers together.

    Paper: Lee, Park, Mo, Ahn, Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning",
        2021,
    arXiv:2010.07611.

    Args:
        kernels: Weights of L layers, any shapes.
        sparsity: Fraction of all weights to remove, in [0, 1).

    Returns:
        Sparsities, float64 of shape (L,), in [0, 1).

    Raises:
        InvalidArgumentError: If there are no kernels, or the sparsity is out of range.

    Example:
        >>> lamp([np.array([1.0, 2.0]), np.array([30.0, 40.0])], 0.25).tolist()
        [0.5, 0.0]
    """
    kernels, sparsity = _checked(kernels, sparsity)
    return _remove_smallest([lamp_scores(kernel) for kernel in kernels], sparsity)


def lamp_scores(array: np.ndarray) -> np.ndarray:
    """Scores each weight by its square over the sum of squares of the weights not smaller than it.

    The largest weight scores 1, so that no layer is emptied before all others are. Equal weights
    are ranked by their position.

    Args:
        array: Weights, any shape.

    Returns:
        Scores in [0, 1], float64, of the shape of `array`.

    Raises:
        InvalidArgumentError: If `array` is empty or not finite.

    Example:
        >>> lamp_scores(np.array([1.0, -2.0])).tolist()
        [0.2, 1.0]
    """
    array = _checked_array(array)
    flat = np.abs(array).ravel()
    order = np.argsort(flat, kind="stable")
    scores = np.empty_like(flat)
    scores[order] = _sorted_scores(flat[order])
    return scores.reshape(array.shape)


def lamp_damage(array: np.ndarray, sparsities: np.ndarray | Sequence[float]) -> np.ndarray:
    """Sums the LAMP scores of the weights that each sparsity removes.

    Args:
        array: Weights of one layer, any shape.
        sparsities: A fractions to remove, each in [0, 1).

    Returns:
        Sums, float64 of shape (A,); 0 where nothing is removed.

    Raises:
        InvalidArgumentError: If `array` is empty or not finite, or a sparsity out of range.

    Example:
        >>> lamp_damage(np.array([1.0, -2.0]), [0.0, 0.5]).tolist()
        [0.0, 0.2]
    """
    array = _checked_array(array)
    fractions = np.array([check_fraction("sparsity", value) for value in sparsities])
    scores = _sorted_scores(np.sort(np.abs(array), axis=None))
    removed = np.minimum(np.rint(fractions * array.size).astype(int), array.size - 1)
    return np.concatenate([[0.0], np.cumsum(scores)])[removed]


def _sorted_scores(magnitudes: np.ndarray) -> np.ndarray:
    """Gives the LAMP scores of magnitudes in ascending order."""
    largest = magnitudes[-1]
    squares = np.square(magnitudes / largest) if largest > 0.0 else np.zeros_like(magnitudes)
    remaining = np.cumsum(squares[::-1])[::-1]
    scores = np.divide(squares, remaining, out=np.zeros_like(squares), where=remaining > 0.0)
    scores[-1] = 1.0
    return scores


def _remove_smallest(scores: Sequence[np.ndarray], sparsity: float) -> np.ndarray:
    """Turns scores of all layers into sparsities, never removing a layer's best weight."""
    spared = []
    for score in scores:
        flat = score.ravel().astype(np.float64)
        flat[np.argmax(flat)] = np.inf
        spared.append(flat)
    sizes = np.array([flat.size for flat in spared])
    pooled = np.concatenate(spared)
    count = min(round(sparsity * pooled.size), pooled.size - len(spared))
    layer = np.repeat(np.arange(len(spared)), sizes)
    removed = np.argsort(pooled, kind="stable")[:count]
    return np.bincount(layer[removed], minlength=len(spared)) / sizes


def _checked(kernels: Sequence[np.ndarray], sparsity: float) -> tuple[list[np.ndarray], float]:
    arrays = [_checked_array(kernel) for kernel in kernels]
    if not arrays:
        raise invalid("`kernels` must hold at least one array.", kernels=arrays)
    return arrays, check_fraction("sparsity", sparsity)


def _checked_array(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise invalid("A kernel must be non-empty and finite.", shape=array.shape)
    return array
