"""What a model tells of itself, whatever its budget and device: read once, used for many tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy import (
    Neighbours,
    check_keras_model,
    describe_calls,
    kernels_of_calls,
    neighbours,
    select_compressible,
    trace,
)
from tf_metacompress.meta.prior import energy_losses, prior_damage
from tf_metacompress.policy import Action, LayerInfo


@dataclass(frozen=True, kw_only=True)
class WeightLosses:
    """What each action takes from the weights of each layer; float64 (layers, actions).

    Attributes:
        prior: Prior damage.
        noise: Energy of the rounding error as a share of the layer's.
        removed: Energy of the removed weights as a share of the layer's.
    """

    prior: np.ndarray
    noise: np.ndarray
    removed: np.ndarray


def weight_losses(
    infos: Sequence[LayerInfo],
    kernels: Mapping[str, tuple[np.ndarray, ...]],
    actions: Sequence[Action],
) -> WeightLosses:
    """Works out what actions take from layers.

    Args:
        infos: The layers.
        kernels: Their kernels by path, BatchNormalization folded.
        actions: The actions.

    Returns:
        One row a layer.
    """
    given = [(kernels[info.name], info.kernels, actions) for info in infos]
    losses = [energy_losses(*layer) for layer in given]
    return WeightLosses(
        prior=np.stack([prior_damage(*layer) for layer in given]),
        noise=np.stack([noise for noise, _ in losses]),
        removed=np.stack([removed for _, removed in losses]),
    )


@dataclass(frozen=True, kw_only=True)
class ModelReading:
    """A model read into data.

    Attributes:
        layers: All its layers.
        infos: The compressible ones, in execution order.
        kernels: Their kernels by path, BatchNormalization folded.
        surroundings: What stands before and after each.
        losses: What each action takes from each compressible layer.
    """

    layers: tuple[LayerInfo, ...]
    infos: tuple[LayerInfo, ...]
    kernels: Mapping[str, tuple[np.ndarray, ...]]
    surroundings: Mapping[str, Neighbours]
    losses: WeightLosses


def read_model(model: keras.Model, actions: Sequence[Action]) -> ModelReading:
    """Reads a model.

    Args:
        model: A built Keras 3 model. It is not changed.
        actions: What may be done to a layer.

    Returns:
        The reading; it does not follow later changes of the weights.

    Raises:
        UnsupportedModelError: When the model has nothing to compress.
    """
    check_keras_model(model)
    calls = trace(model)
    layers = describe_calls(model, calls)
    kernels = kernels_of_calls(calls)
    infos = select_compressible(layers)
    return ModelReading(
        layers=tuple(layers),
        infos=infos,
        kernels=kernels,
        surroundings=neighbours(calls),
        losses=weight_losses(infos, kernels, actions),
    )
