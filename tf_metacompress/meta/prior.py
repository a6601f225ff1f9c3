"""What Φ believes before it has learned anything: LAMP's score and the rounding noise."""

from collections.abc import Sequence

import numpy as np

from tf_metacompress.policy import Action, KernelInfo, lamp_damage

_FLOAT16_BITS = 16


def rounding_noise(kernel: np.ndarray, weight_bits: int, channel_axis: Sequence[int]) -> float:
    """Energy of the rounding error relative to the energy of the weights.

    Args:
        kernel: Weights, any shape.
        weight_bits: Bits of a stored weight; 16 and 32 count as exact.
        channel_axis: Axes that keep a scale of their own.

    Returns:
        ‖W − Q(W)‖² / ‖W‖², in [0, 1).

    Example:
        >>> rounding_noise(np.array([[7.0], [3.4]]), 4, (1,)) < 0.01
        True
    """
    energy = float(np.sum(np.square(kernel, dtype=np.float64)))
    if weight_bits >= _FLOAT16_BITS or energy == 0.0:
        return 0.0
    axes = tuple(axis for axis in range(kernel.ndim) if axis not in tuple(channel_axis))
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / (2 ** (weight_bits - 1) - 1)
    scale = np.where(scale > 0, scale, 1.0)
    error = kernel - np.round(kernel / scale) * scale
    return float(np.sum(np.square(error, dtype=np.float64))) / energy


def prior_damage(
    kernels: Sequence[np.ndarray], infos: Sequence[KernelInfo], actions: Sequence[Action]
) -> np.ndarray:
    """Damage of each action on one layer, from the weights alone.

    Pruning costs the sum of the LAMP scores it removes: under an equal price per weight the exact
    allocation then removes weights in the order of their LAMP scores, which is what LAMP does.
    Rounding adds −log(1 − noise), the same measure (a lost share of the layer's energy) for the
    weights that stay.

    Paper: Lee et al. 2021, arXiv:2010.07611.

    Args:
        kernels: Kernels of the layer, BatchNormalization folded.
        infos: What they are, in the same order.
        actions: The actions to judge.

    Returns:
        Float64 array (actions,), non-negative, zero for an action that changes nothing.

    Example:
        >>> info = KernelInfo(name="kernel", shape=(4, 1), channel_axis=(1,))
        >>> kernel = np.array([[1.0], [2.0], [3.0], [4.0]])
        >>> prior_damage([kernel], [info], [Action(0.0, 32), Action(0.5, 32)]).round(3).tolist()
        [0.0, 0.171]
    """
    sparsities = sorted({action.sparsity for action in actions})
    damage = np.zeros(len(actions))
    for kernel, info in zip(kernels, infos, strict=True):
        pruned = dict(zip(sparsities, lamp_damage(kernel, np.array(sparsities)), strict=True))
        noise = {
            bits: -np.log1p(-min(rounding_noise(kernel, bits, info.channel_axis), 0.999))
            for bits in {action.weight_bits for action in actions}
        }
        damage += [pruned[action.sparsity] + noise[action.weight_bits] for action in actions]
    return damage


def energy_losses(
    kernels: Sequence[np.ndarray], infos: Sequence[KernelInfo], actions: Sequence[Action]
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of a layer's energy Σ w² that rounding and pruning take, each by itself.

    Args:
        kernels: Kernels of the layer, BatchNormalization folded.
        infos: What they are, in the same order.
        actions: The actions to judge.

    Returns:
        Share of the rounding error and share of the removed weights, float64 arrays (actions,).

    Example:
        >>> info = KernelInfo(name="kernel", shape=(2, 1), channel_axis=(1,))
        >>> noise, removed = energy_losses([np.array([[3.0], [4.0]])], [info], [Action(0.5, 32)])
        >>> noise.tolist(), removed.tolist()
        ([0.0], [0.36])
    """
    noise, removed, energy = np.zeros(len(actions)), np.zeros(len(actions)), 0.0
    sparsities = np.array([action.sparsity for action in actions])
    bits = [action.weight_bits for action in actions]
    for kernel, info in zip(kernels, infos, strict=True):
        squares = np.sort(np.square(kernel, dtype=np.float64), axis=None)
        count = np.minimum(np.rint(sparsities * squares.size).astype(int), squares.size - 1)
        removed += np.concatenate([[0.0], np.cumsum(squares)])[count]
        own = {b: rounding_noise(kernel, b, info.channel_axis) for b in set(bits)}
        noise += squares.sum() * np.array([own[b] for b in bits])
        energy += squares.sum()
    unit = energy if energy > 0.0 else 1.0
    return noise / unit, removed / unit
