"""Damage of each action as the curvature of the loss on a batch of data sees it."""

import numpy as np
import tensorflow as tf

from tf_metacompress.errors import invalid
from tf_metacompress.meta.kernel_row import Weights
from tf_metacompress.meta.problem import Problem
from tf_metacompress.meta.task_loss import RelaxedLoss
from tf_metacompress.ops import fake_quantize_weights

_NUM_BATCHES = 8
_BATCH_SIZE = 16


def fisher_damage(
    relaxed: RelaxedLoss, weights: Weights, problem: Problem, x: tf.Tensor, y: tf.Tensor
) -> np.ndarray:
    """Estimates the rise in loss of each action before any fine-tuning, from a few small batches.

    The loss is taken to be a parabola whose curvature in each weight is the empirical Fisher
    information F, so that a change e of the weights costs ½ Σ F e². F is estimated from the squared
    gradients of eight batches of at most 16 examples.

    Paper: Theis, Korshunova, Tejani, Huszár 2018, arXiv:1801.05787.

    Args:
        relaxed: Loss of the task's model.
        weights: The model's trainable and other weights.
        problem: The task read into arrays.
        x: Inputs.
        y: Labels.

    Returns:
        Float64 array (layers, actions): share of what removing all weights of all layers would
        cost; zeros when the loss depends on no kernel.

    Raises:
        InvalidArgumentError: When the loss is not finite on the data.
    """
    fisher = _fisher(relaxed, weights, x, y)
    kernels = relaxed.row.kernels(weights)
    actions = problem.table.actions
    damage, total, place = np.zeros((len(problem.infos), len(actions))), 0.0, 0
    for row, info in enumerate(problem.infos):
        for folded in problem.kernels[info.name]:
            slot, kernel, curvature = relaxed.row.slots[place], kernels[place], fisher[place]
            order = np.argsort(np.abs(folded), axis=None, kind="stable")
            mass = 0.5 * curvature * np.square(kernel.numpy(), dtype=np.float64)
            total += mass.sum()
            for bits in sorted({action.weight_bits for action in actions}):
                rounded = fake_quantize_weights(kernel, bits, slot.channel_axis)
                error = np.square((kernel - rounded).numpy(), dtype=np.float64)
                change = 0.5 * curvature * error
                columns = [i for i, action in enumerate(actions) if action.weight_bits == bits]
                sparsities = np.array([actions[i].sparsity for i in columns])
                damage[row, columns] += _lost(mass.ravel(), change.ravel(), order, sparsities)
            place += 1
    return damage / total if total > 0.0 else damage


def _lost(
    mass: np.ndarray, change: np.ndarray, order: np.ndarray, sparsities: np.ndarray
) -> np.ndarray:
    """Mass of the weights removed, and change of those that stay."""
    removed = np.concatenate([[0.0], np.cumsum(mass[order])])
    spared = np.concatenate([[0.0], np.cumsum(change[order])])
    count = np.minimum(np.rint(sparsities * mass.size).astype(int), mass.size - 1)
    return removed[count] + spared[-1] - spared[count]


def _fisher(relaxed: RelaxedLoss, weights: Weights, x: tf.Tensor, y: tf.Tensor) -> list[np.ndarray]:
    """Mean squared gradient of each kernel over the batches."""
    kernels = relaxed.row.kernels(weights)
    squares = [np.zeros(kernel.shape) for kernel in kernels]
    size = max(1, min(_BATCH_SIZE, len(x) // _NUM_BATCHES))
    num_batches = min(_NUM_BATCHES, len(x))
    picked = np.linspace(0, len(x) - 1, num_batches * size).astype(int)
    for batch in range(num_batches):
        rows = picked[batch::num_batches]  # labels may be sorted: let each batch hold all classes
        examples = tf.gather(x, rows), tf.gather(y, rows)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernels)
            loss = relaxed.at_kernels(kernels, weights, *examples)
        if not np.isfinite(float(loss)):
            raise invalid(
                "The loss of the model on the support set must be finite.",
                "Check its weights, its loss and the range of the inputs.",
                loss=float(loss),
            )
        gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
        for square, gradient in zip(squares, gradients, strict=True):
            square += np.square(np.asarray(gradient), dtype=np.float64) / num_batches
    return squares
