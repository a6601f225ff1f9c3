"""What compressing one layer alone does to a model: measured, or estimated from curvature."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy import kernel_arrays
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.ops import fake_quantize_weights
from tf_metacompress.policy import Action, LayerInfo
from tf_metacompress.progress import progress
from tf_metacompress.typing import ArrayPair

LossFn = Callable[[Any, Any], tf.Tensor]
_ANCHORS = 6
_PROBES = 16
LARGEST_RISE = 1e6
"""What a loss that is not finite counts as."""


@dataclass(frozen=True)
class Bench:
    """A model on one batch, with its kernels as arguments.

    Args:
        model: A built Keras model; it is not changed, nor may it change meanwhile.
        infos: Its compressible layers.
        batch: Inputs and labels.
        loss: Maps labels and predictions to a scalar.
        deployed: Kernels by path, BatchNormalization folded; None to read them.
    """

    model: keras.Model
    infos: Sequence[LayerInfo]
    batch: ArrayPair
    loss: LossFn
    deployed: Mapping[str, tuple[np.ndarray, ...]] | None = None

    @cached_property
    def kernels(self) -> list[list[tf.Tensor]]:
        """Kernels of each layer as they are stored."""
        return [[tf.convert_to_tensor(variable) for variable in layer] for layer in self._variables]

    def compressed(self, row: int, action: Action) -> list[tf.Tensor]:
        """Kernels of one layer pruned by their deployed magnitude, and rounded."""
        info = self.infos[row]
        deployed = self.deployed[info.name]
        found = []
        for kernel, magnitudes, entry in zip(
            self.kernels[row], deployed, info.kernels, strict=True
        ):
            mask = tf.constant(_largest(np.abs(magnitudes), action.sparsity), kernel.dtype)
            rounded = fake_quantize_weights(kernel, action.weight_bits, entry.channel_axis)
            found.append(rounded * mask)
        return found

    def __post_init__(self) -> None:
        """Reads the kernels once."""
        if self.deployed is None:
            object.__setattr__(self, "deployed", kernel_arrays(self.model))

    @cached_property
    def _variables(self) -> list[list[keras.Variable]]:
        layers = leaf_layers(self.model)
        return [
            [weight_of(layers[info.name], kernel.name) for kernel in info.kernels]
            for info in self.infos
        ]

    def loss_fn(self) -> Callable[[Sequence[Sequence[tf.Tensor]]], tf.Tensor]:
        """Gives the loss as a function of all kernels, on inference statistics."""
        x, y = (tf.constant(part) for part in self.batch)
        trainable, others = self.model.trainable_variables, self.model.non_trainable_variables
        place = {id(variable): index for index, variable in enumerate([*trainable, *others])}
        places = [[place[id(variable)] for variable in layer] for layer in self._variables]
        inputs = tf.cast(x, self.model.compute_dtype) if x.dtype.is_floating else x

        def loss(kernels: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
            values = [tf.convert_to_tensor(variable) for variable in [*trainable, *others]]
            for indices, layer in zip(places, kernels, strict=True):
                for index, kernel in zip(indices, layer, strict=True):
                    values[index] = kernel
            split = len(trainable)
            outputs, _ = self.model.stateless_call(
                values[:split], values[split:], inputs, training=False
            )
            return tf.reduce_mean(self.loss(y, outputs))

        return loss


def _largest(magnitudes: np.ndarray, sparsity: float) -> np.ndarray:
    """Mask of the largest magnitudes; at least one stays."""
    removed = min(round(sparsity * magnitudes.size), magnitudes.size - 1)
    mask = np.ones(magnitudes.size, bool)
    mask[np.argsort(magnitudes, axis=None, kind="stable")[:removed]] = False
    return mask.reshape(magnitudes.shape)


def _by_bits(actions: Sequence[Action]) -> Iterator[list[int]]:
    """Indices of the actions of each width, by rising sparsity."""
    for bits in sorted({action.weight_bits for action in actions}):
        rows = [i for i, action in enumerate(actions) if action.weight_bits == bits]
        yield sorted(rows, key=lambda i: actions[i].sparsity)


def measured_damage(
    bench: Bench,
    actions: Sequence[Action],
    num_anchors: int = _ANCHORS,
    guide: np.ndarray | None = None,
    *,
    quiet: bool = True,
) -> np.ndarray:
    """Measures the rise of the loss when one layer alone is compressed, without fine-tuning.

    A few sparsities of each width are measured; between them the damage is interpolated over the
    logarithm of the kept share, or over a guess.

    Args:
        bench: The model on a batch.
        actions: What may be done to a layer, pattern "unstructured".
        num_anchors: Sparsities of each width that are measured.
        guide: Damage as it is guessed, shape (layers, actions), rising with the sparsity; between
            two measurements the damage rises as it does.
        quiet: Without a progress bar.

    Returns:
        Float64 (layers, actions), not negative, not falling in the sparsity.
    """
    loss = tf.function(bench.loss_fn())
    plain = bench.kernels
    base = float(loss(plain))
    damage = np.zeros((len(plain), len(actions)))
    for rows in _by_bits(actions):
        steps = np.linspace(0, len(rows) - 1, min(num_anchors, len(rows))).round().astype(int)
        anchors = [rows[step] for step in steps]
        removed = -np.log1p([-action.sparsity for action in actions])
        described = f"measure layers at {actions[rows[0]].weight_bits} bits"
        for row in progress(range(len(plain)), description=described, quiet=quiet):
            losses = [
                float(loss([*plain[:row], bench.compressed(row, actions[i]), *plain[row + 1 :]]))
                for i in anchors
            ]
            rises = np.maximum(np.nan_to_num(np.array(losses) - base, nan=np.inf), 0.0)
            rising = np.maximum.accumulate(np.minimum(rises, LARGEST_RISE))
            over = removed if guide is None else guide[row]
            damage[row, rows] = np.interp(over[rows], over[anchors], rising)
    return damage


def hessian_damage(bench: Bench, actions: Sequence[Action], seed: int = 0) -> np.ndarray:
    """Estimates the damage as the Hessian's mean trace times the energy of the change.

    Paper: Dong et al. 2020, "HAWQ-V2", arXiv:1911.03852: Ω = mean(Tr H) · ‖C(W) − W‖², the trace by
    Hutchinson's probes. BatchNormalization stands on its inference statistics.

    Args:
        bench: The model on a batch.
        actions: What may be done to a layer.
        seed: Seed of the probes.

    Returns:
        Float64 (layers, actions), not negative.
    """
    plain = bench.kernels
    traces = _mean_traces(bench, plain, np.random.default_rng(seed))
    energy = np.zeros((len(plain), len(actions)))
    for row in range(len(plain)):
        for column, action in enumerate(actions):
            pairs = zip(plain[row], bench.compressed(row, action), strict=True)
            energy[row, column] = sum(float(tf.reduce_sum((a - b) ** 2)) for a, b in pairs)
    return np.maximum(traces, 0.0)[:, None] * energy


def _mean_traces(
    bench: Bench, kernels: list[list[tf.Tensor]], generator: np.random.Generator
) -> np.ndarray:
    """Mean of the Hessian's diagonal over the weights of each layer."""
    loss = bench.loss_fn()

    @tf.function
    def curvature(probes: list[list[tf.Tensor]]) -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(kernels)
            with tf.GradientTape() as inner:
                inner.watch(kernels)
                value = loss(kernels)
            gradients = inner.gradient(value, kernels, unconnected_gradients="zero")
            along = tf.add_n(
                [tf.reduce_sum(g * v) for g, v in zip(_flat(gradients), _flat(probes), strict=True)]
            )
        turned = outer.gradient(along, kernels, unconnected_gradients="zero")
        return [
            tf.add_n([tf.reduce_sum(h * v) for h, v in zip(layer, probe, strict=True)])
            for layer, probe in zip(turned, probes, strict=True)
        ]

    total = np.zeros(len(kernels))
    for _ in range(_PROBES):
        probes = [
            [tf.constant(generator.choice([-1.0, 1.0], k.shape), k.dtype) for k in layer]
            for layer in kernels
        ]
        total += [float(value) for value in curvature(probes)]
    sizes = np.array([sum(int(tf.size(kernel)) for kernel in layer) for layer in kernels])
    return total / _PROBES / sizes


def _flat(nested: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
    return [tensor for layer in nested for tensor in layer]
