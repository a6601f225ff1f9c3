"""What Φ sees of a layer, an action and a task: no layer index, no absolute scale of weights."""

import math
from collections.abc import Sequence

import numpy as np

from tf_metacompress.policy import Action, CostTable, LayerInfo

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
)
ACTION_FEATURES = (
    "sparsity",
    "log_kept",
    "is_4_bit",
    "is_float",
    "log_prior",
    "log_relative_cost",
)
TASK_FEATURES = ("log_budget_share", "log_num_weights", "log_num_layers")
NUM_FEATURES = len(LAYER_FEATURES) + len(ACTION_FEATURES) + len(TASK_FEATURES)


def _log(value: float | np.ndarray, floor: float = 1e-6) -> np.ndarray:
    return np.log10(np.maximum(value, floor))


def layer_features(infos: Sequence[LayerInfo]) -> np.ndarray:
    """Describes each layer relative to its model.

    Args:
        infos: The compressible layers, in execution order.

    Returns:
        Float64 array (layers, len(LAYER_FEATURES)).
    """
    weights = sum(info.num_weights for info in infos)
    macs = max(sum(info.macs for info in infos), 1)
    rows = []
    for index, info in enumerate(infos):
        channels = math.prod(info.weight_shape[axis] for axis in info.kernels[-1].channel_axis)
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
            ]
        )
    return np.array(rows)


def action_features(actions: Sequence[Action], prior: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Describes what each action does to each layer.

    Args:
        actions: The actions.
        prior: Prior damage, shape (layers, actions).
        cost: Cost in the budgeted resource, shape (layers, actions).

    Returns:
        Float64 array (layers, actions, len(ACTION_FEATURES)).
    """
    common = np.array(
        [
            [a.sparsity, _log(1.0 - a.sparsity), a.weight_bits == 4, a.weight_bits > 8]
            for a in actions
        ],
        np.float64,
    )
    common = np.broadcast_to(common, (*prior.shape, common.shape[-1]))
    relative = cost / np.maximum(cost.max(axis=1, keepdims=True), 1e-12)
    return np.concatenate([common, _log(prior)[..., None], _log(relative)[..., None]], axis=-1)


def features(
    infos: Sequence[LayerInfo], table: CostTable, prior: np.ndarray, resource: int, limit: float
) -> np.ndarray:
    """Joins what is known of layer, action and task.

    Args:
        infos: The compressible layers, in execution order.
        table: Actions and their costs.
        prior: Prior damage, shape (layers, actions).
        resource: Index of the budgeted resource in the table.
        limit: What the actions may cost in it, the fixed part taken off.

    Returns:
        Float64 array (layers, actions, NUM_FEATURES).
    """
    cost = table.cost[:, :, resource]
    of_layers = layer_features(infos)
    largest = np.where(table.mask, cost, 0.0).max(axis=1).sum()
    of_task = [
        float(_log(limit / max(largest, 1e-12))),
        float(_log(sum(info.num_weights for info in infos))) / 6.0,
        float(_log(len(infos))),
    ]
    shape = prior.shape
    return np.concatenate(
        [
            np.broadcast_to(of_layers[:, None, :], (*shape, of_layers.shape[-1])),
            action_features(table.actions, prior, cost),
            np.broadcast_to(np.array(of_task), (*shape, len(of_task))),
        ],
        axis=-1,
    )
