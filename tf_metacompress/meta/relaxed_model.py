"""The model with relaxed kernels: every layer a mixture of its actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import kind_of
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.ops import fake_quantize_weights
from tf_metacompress.policy import Action, LayerInfo


@dataclass(frozen=True, kw_only=True)
class KernelSlot:
    """Where one kernel of one layer stands among a model's variables.

    Attributes:
        row: Index of the layer among the compressible ones.
        index: Index of the variable; within the trainable ones, or the others.
        trainable: Which of the two lists `index` counts in.
        channel_axis: Axes of the kernel's output channels.
    """

    row: int
    index: int
    trainable: bool
    channel_axis: tuple[int, ...]


def kernel_slots(model: keras.Model, infos: Sequence[LayerInfo]) -> tuple[KernelSlot, ...]:
    """Locates the kernels of the compressible layers among a model's variables.

    Args:
        model: A built Keras 3 model.
        infos: Its compressible layers.

    Returns:
        One slot a kernel, layer by layer.
    """
    trainable = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
    others = {id(variable): i for i, variable in enumerate(model.non_trainable_variables)}
    layers = leaf_layers(model)
    slots = []
    for row, info in enumerate(infos):
        for name, axis in kind_of(layers[info.name]).kernels.items():
            key = id(weight_of(layers[info.name], name))
            is_trainable = key in trainable
            index = trainable[key] if is_trainable else others[key]
            slots.append(
                KernelSlot(row=row, index=index, trainable=is_trainable, channel_axis=axis)
            )
    return tuple(slots)


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


def soft_mask(probabilities: tf.Tensor, levels: tf.Tensor, index: ActionIndex) -> tf.Tensor:
    """Share of the choice that keeps each weight, for each of the bits.

    Args:
        probabilities: Choice of one layer, shape (actions,).
        levels: From `weight_levels`.
        index: The actions.

    Returns:
        Shape (bits, *kernel shape), 0 to 1; of a sure choice the mask itself, in the row of its
        bits.
    """
    rows = []
    for row, order in enumerate(index.order):
        # A weight at level v is kept by the actions 0..v, so its share is their summed probability.
        share = tf.cumsum(tf.gather(probabilities, list(order)))
        share = tf.concat([tf.zeros([1], share.dtype), share], 0)
        rows.append(tf.gather(share, levels[row] + 1))
    return tf.stack(rows)


def mix_kernel(
    kernel: tf.Tensor, mask: tf.Tensor, index: ActionIndex, channel_axis: Sequence[int]
) -> tf.Tensor:
    """Mixes all compressed forms of a kernel: Σ_a p_a · C_a(W).

    Args:
        kernel: The weights.
        mask: From `soft_mask`.
        index: The actions.
        channel_axis: Axes of the kernel's output channels.

    Returns:
        Kernel of the same shape, differentiable twice in `kernel` and `mask`.
    """
    mixed = tf.zeros_like(kernel)
    for row, bits in enumerate(index.bits):
        mixed += mask[row] * fake_quantize_weights(kernel, bits, channel_axis)
    return mixed


def soft_masks(
    probabilities: tf.Tensor,
    slots: Sequence[KernelSlot],
    levels: Sequence[tf.Tensor],
    index: ActionIndex,
) -> tuple[tf.Tensor, ...]:
    """Gives the soft mask of every kernel.

    Args:
        probabilities: Relaxed choice, shape (layers, actions).
        slots: Where the kernels are.
        levels: Levels of each kernel, in the order of `slots`.
        index: The actions.

    Returns:
        One a kernel, in the order of `slots`.
    """
    return tuple(
        soft_mask(probabilities[slot.row], level, index)
        for slot, level in zip(slots, levels, strict=True)
    )


def substitute_kernels(
    weights: tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]],
    masks: Sequence[tf.Tensor],
    slots: Sequence[KernelSlot],
    index: ActionIndex,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Replaces the kernels among a model's weights by their mixtures.

    Args:
        weights: Trainable and other weights of the model.
        masks: From `soft_masks`.
        slots: Where the kernels are.
        index: The actions.

    Returns:
        Trainable and other weights for `stateless_call`.
    """
    trainable, others = list(weights[0]), list(weights[1])
    for slot, mask in zip(slots, masks, strict=True):
        target = trainable if slot.trainable else others
        target[slot.index] = mix_kernel(target[slot.index], mask, index, slot.channel_axis)
    return trainable, others


def levels_of(
    kernels: Mapping[str, tuple[np.ndarray, ...]], infos: Sequence[LayerInfo], index: ActionIndex
) -> list[np.ndarray]:
    """Computes the levels of every kernel, in the order of `kernel_slots`."""
    return [weight_levels(kernel, index) for info in infos for kernel in kernels[info.name]]
