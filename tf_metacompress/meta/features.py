"""What Φ sees of a layer, an action and a task: no layer index, no absolute scale of weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.anatomy import Neighbours
from tf_metacompress.policy import Action, LayerInfo

_KINDS = ("Conv", "Depthwise", "Separable", "Dense")

LAYER_FEATURES = (
    *(f"is_{kind.lower()}" for kind in _KINDS),
    "log_weight_share",
    "log_mac_share",
    "log_weights_per_channel",
    "depth",
    "is_first",
    "is_last",
    "log_kurtosis",
    "log_ratio_to_previous",
    "log_ratio_to_following",
    "feeds_addition",
    "has_batch_norm",
)
ACTION_FEATURES = (
    "sparsity",
    "log_kept",
    "is_4_bit",
    "is_float",
    "log_prior",
    "log_relative_cost",
    "log_rounding_noise",
    "removed_energy",
    "log_removed_energy",
)
TASK_FEATURES = ("log_budget_share", "log_num_weights", "log_num_layers")
SUPPORT_FEATURES = ("support_known", "log_fisher_damage", "log_measured_damage")
FEATURES = (*LAYER_FEATURES, *ACTION_FEATURES, *TASK_FEATURES, *SUPPORT_FEATURES)
NUM_FEATURES = len(FEATURES)

FEATURE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "kind of layer": LAYER_FEATURES[:4],
    "size of layer": LAYER_FEATURES[4:7],
    "place in model": LAYER_FEATURES[7:10],
    "weight distribution": LAYER_FEATURES[10:11],
    "neighbours": LAYER_FEATURES[11:15],
    "sparsity and bits": ACTION_FEATURES[:4],
    "prior": ACTION_FEATURES[4:5],
    "cost on device": ACTION_FEATURES[5:6],
    "quantisation error": ACTION_FEATURES[6:7],
    "removed weights": ACTION_FEATURES[7:9],
    "task": TASK_FEATURES,
    "support data": SUPPORT_FEATURES,
}


@dataclass(frozen=True, kw_only=True)
class ActionArrays:
    """What is known of each action on each layer; arrays of shape (layers, actions).

    Attributes:
        actions: The actions.
        prior: Prior damage.
        noise: Energy of the rounding error as a share of the layer's.
        removed: Energy of the removed weights as a share of the layer's.
        relative_cost: Cost in the tightest resource as a share of the dearest action's.
    """

    actions: tuple[Action, ...]
    prior: np.ndarray
    noise: np.ndarray
    removed: np.ndarray
    relative_cost: np.ndarray


def _log(value: float | np.ndarray, floor: float = 1e-6) -> np.ndarray:
    return np.log10(np.maximum(value, floor))


def layer_features(
    infos: Sequence[LayerInfo], surroundings: Mapping[str, Neighbours]
) -> np.ndarray:
    """Describes each layer relative to its model.

    Args:
        infos: The compressible layers, in execution order.
        surroundings: What `anatomy.neighbours` found for them.

    Returns:
        Float64 array (layers, len(LAYER_FEATURES)).
    """
    weights = sum(info.num_weights for info in infos)
    macs = max(sum(info.macs for info in infos), 1)
    sizes = {info.name: info.num_weights for info in infos}
    rows = []
    for index, info in enumerate(infos):
        channels = math.prod(info.weight_shape[axis] for axis in info.kernels[-1].channel_axis)
        around = surroundings.get(info.name, Neighbours())
        rows.append(
            [
                *(float(info.kind.startswith(kind)) for kind in _KINDS),
                _log(info.num_weights / weights),
                _log(info.macs / macs),
                _log(info.num_weights / channels) / 3.0,
                info.depth,
                float(index == 0),
                float(index == len(infos) - 1),
                _log(info.stats.kurtosis if info.stats else 3.0),
                _mean_log_ratio(info.num_weights, around.previous, sizes),
                _mean_log_ratio(info.num_weights, around.following, sizes),
                float(around.feeds_addition),
                float(around.has_batch_norm),
            ]
        )
    return np.array(rows)


def _mean_log_ratio(size: int, names: Sequence[str], sizes: Mapping[str, int]) -> float:
    ratios = [float(_log(size / sizes[name])) for name in names if name in sizes]
    return float(np.mean(ratios)) if ratios else 0.0


def action_features(arrays: ActionArrays) -> np.ndarray:
    """Describes what each action does to each layer.

    Args:
        arrays: What is known of the actions.

    Returns:
        Float64 array (layers, actions, len(ACTION_FEATURES)).
    """
    actions, shape = arrays.actions, arrays.prior.shape
    common = np.array(
        [
            [a.sparsity, _log(1.0 - a.sparsity), a.weight_bits == 4, a.weight_bits > 8]
            for a in actions
        ],
        np.float64,
    )
    own = (
        _log(arrays.prior),
        _log(arrays.relative_cost),
        _log(arrays.noise),
        arrays.removed,
        _log(arrays.removed),
    )
    common = np.broadcast_to(common, (*shape, common.shape[-1]))
    return np.concatenate([common, np.stack(own, axis=-1)], axis=-1)


def features(of_layers: np.ndarray, of_actions: np.ndarray, of_task: Sequence[float]) -> np.ndarray:
    """Joins what is known of layer, action and task; of support data nothing is known yet.

    Args:
        of_layers: Shape (layers, len(LAYER_FEATURES)).
        of_actions: Shape (layers, actions, len(ACTION_FEATURES)).
        of_task: As many as TASK_FEATURES.

    Returns:
        Float64 array (layers, actions, NUM_FEATURES).
    """
    shape = of_actions.shape[:2]
    unknown = np.zeros((*shape, len(SUPPORT_FEATURES)))
    return np.concatenate(
        [
            np.broadcast_to(of_layers[:, None, :], (*shape, of_layers.shape[-1])),
            of_actions,
            np.broadcast_to(np.array(of_task), (*shape, len(of_task))),
            unknown,
        ],
        axis=-1,
    )


def task_features(limit: float, largest: float, infos: Sequence[LayerInfo]) -> list[float]:
    """Describes how tight the budget is, and how large the model.

    Args:
        limit: What the actions may cost in the tightest resource, the fixed part taken off.
        largest: What the dearest actions cost in it, summed over layers.
        infos: The compressible layers.

    Returns:
        As many numbers as TASK_FEATURES.
    """
    return [
        float(_log(limit / max(largest, 1e-12))),
        float(_log(sum(info.num_weights for info in infos))) / 6.0,
        float(_log(len(infos))),
    ]


def with_support(
    known: np.ndarray, fisher_damage: np.ndarray, measured_damage: np.ndarray
) -> np.ndarray:
    """Adds to features what a batch of data tells.

    Args:
        known: Shape (layers, actions, NUM_FEATURES).
        fisher_damage: Share of the model's Fisher mass that each action loses, shape
            (layers, actions).
        measured_damage: Rise of the loss under each action alone, as a share of the largest.

    Returns:
        Features of the same shape.
    """
    told = known.copy()
    told[..., -3] = 1.0
    told[..., -2] = _log(fisher_damage)
    told[..., -1] = _log(measured_damage)
    return told


def without_support(known: np.ndarray) -> np.ndarray:
    """Takes from features what data tells, as if there were none.

    Args:
        known: Shape (..., NUM_FEATURES).

    Returns:
        Features of the same shape.
    """
    blind = known.copy()
    blind[..., -len(SUPPORT_FEATURES) :] = 0.0
    return blind
