"""The model with relaxed kernels: every layer a mixture of its actions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_metacompress.meta.kernel_row import KernelRow
from tf_metacompress.ops import fake_quantize_groups
from tf_metacompress.policy import Action


@dataclass(frozen=True)
class ActionIndex:
    """The actions arranged by bits, for mixing without one mask an action.

    A magnitude mask of higher sparsity lies inside one of lower sparsity. A weight therefore only
    needs its level, the number of sparsities that keep it; its share of the mixture is the summed
    probability of the actions up to that level.

    Attributes:
        bits: The distinct weight bits.
        order: For each, the actions with those bits by rising sparsity.
        sparsities: For each, those sparsities.
    """

    bits: tuple[int, ...]
    order: tuple[tuple[int, ...], ...]
    sparsities: tuple[tuple[float, ...], ...]


def index_actions(actions: Sequence[Action]) -> ActionIndex:
    """Arranges actions by bits and sparsity.

    Args:
        actions: The actions, all of pattern "unstructured".

    Returns:
        The arrangement.
    """
    bits = tuple(sorted({action.weight_bits for action in actions}))
    order = tuple(
        tuple(
            sorted(
                (i for i, action in enumerate(actions) if action.weight_bits == b),
                key=lambda i: actions[i].sparsity,
            )
        )
        for b in bits
    )
    sparsities = tuple(tuple(actions[i].sparsity for i in row) for row in order)
    return ActionIndex(bits, order, sparsities)


def weight_levels(folded_kernel: np.ndarray, index: ActionIndex) -> np.ndarray:
    """Counts, for each weight, the sparsities that keep it, less one.

    Args:
        folded_kernel: Kernel whose magnitudes decide, any shape.
        index: The actions.

    Returns:
        Int32 array (bits, *kernel shape); −1 marks a weight that no action keeps.
    """
    flat = np.abs(folded_kernel).ravel()
    rank = np.empty(flat.size, np.int64)
    rank[np.argsort(-flat, kind="stable")] = np.arange(flat.size)
    levels = []
    for sparsities in index.sparsities:
        removed = np.round(np.array(sparsities) * flat.size).astype(np.int64)
        kept = np.maximum(flat.size - removed, 1)
        levels.append(np.searchsorted(-kept, -rank, side="left") - 1)
    return np.stack(levels).astype(np.int32).reshape((-1, *folded_kernel.shape))


def mask_places(
    folded_kernels: Sequence[np.ndarray], layer_of: np.ndarray, index: ActionIndex
) -> np.ndarray:
    """Finds, for each weight of a row of kernels, the place of its share in a table of shares.

    Args:
        folded_kernels: Kernels whose magnitudes decide, in the order of the row.
        layer_of: Row of the layer that each weight belongs to, shape (weights,).
        index: The actions.

    Returns:
        Int32 array (bits, weights), for `soft_masks`.
    """
    levels = [
        weight_levels(kernel, index).reshape(len(index.bits), -1) for kernel in folded_kernels
    ]
    places, start = np.concatenate(levels, axis=1) + 1, 0
    for row, order in enumerate(index.order):
        width = len(order) + 1
        places[row] += start + layer_of * width
        start += width * (int(layer_of.max()) + 1)
    return places.astype(np.int32)


def soft_masks(probabilities: tf.Tensor, places: tf.Tensor, index: ActionIndex) -> tf.Tensor:
    """Share of a choice that keeps each weight, for each of the bits.

    Args:
        probabilities: Relaxed choice, shape (layers, actions).
        places: From `mask_places`.
        index: The actions.

    Returns:
        Shape (bits, weights), 0 to 1; of a sure choice the mask itself, in the row of its bits.
    """
    shares = []
    for order in index.order:
        # A weight at level v is kept by the actions 0..v, so its share is their summed probability.
        share = tf.cumsum(tf.gather(probabilities, list(order), axis=1), axis=1)
        shares.append(tf.reshape(tf.pad(share, [[0, 0], [1, 0]]), [-1]))
    return tf.gather(tf.concat(shares, 0), places)


def mix_kernels(
    weights: tf.Tensor, masks: tf.Tensor, index: ActionIndex, row: KernelRow
) -> tf.Tensor:
    """Mixes all compressed forms of all kernels: Σ_a p_a · C_a(W).

    Args:
        weights: The kernels in a row, shape (weights,).
        masks: From `soft_masks`.
        index: The actions.
        row: How the kernels are laid out.

    Returns:
        Shape (weights,), differentiable twice in `weights` and `masks`.
    """
    groups = row.channel_of, row.num_channels
    forms = [fake_quantize_groups(weights, bits, *groups) for bits in index.bits]
    return tf.add_n([masks[i] * form for i, form in enumerate(forms)])
