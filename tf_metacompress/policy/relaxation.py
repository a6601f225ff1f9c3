"""Which actions an optimal allocation can still contain, by linear relaxation.

The relaxation prices each resource. At these prices every action has a reduced cost: how much worse
than the relaxation any choice with it must be. An action whose reduced cost exceeds the gap between
a choice already known and the relaxation cannot be part of a better choice, and is left out.
"""

import numpy as np
from scipy import optimize, sparse

_SAFETY = 1e-7
_MOVES_PER_LAYER = 20


def survivors(damage: np.ndarray, usage: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Marks the actions that an optimal choice can contain.

    Args:
        damage: Damage at least 0, shape (L, A); infinite where an action is not allowed.
        usage: Use of K resources beyond each layer's least, at least 0, shape (L, A, K).
        room: What the uses may add up to, shape (K,), about 1.

    Returns:
        Bool array of shape (L, A). Some optimal choice consists of marked actions only, if anything
        fits.
    """
    allowed = np.isfinite(damage)
    prices = _prices(damage, usage, room)
    if prices is None:
        return allowed
    priced = np.where(allowed, damage + usage @ prices, np.inf)
    known = _good_choice(damage, usage, room, priced.argmin(axis=1))
    if known is None:
        return allowed
    least = priced.min(axis=1)
    bound = least.sum() - prices @ room
    reached = damage[np.arange(len(known)), known].sum()
    gap = reached - bound + _SAFETY * max(abs(reached), abs(bound), damage[allowed].max())
    kept = priced - least[:, None] <= gap
    kept[np.arange(len(known)), known] = True
    return kept


def resource_prices(
    damage: np.ndarray, cost: np.ndarray, room: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Prices each resource: the damage that one more unit of it would save, to first order.

    These are the multipliers λ of the relaxed allocation, which may mix actions of a layer.

    Paper: Sinha, Zoltners 1979, "The multiple-choice knapsack problem".

    Args:
        damage: Damage of A actions on L layers, shape (L, A).
        cost: Cost of each action in K resources, shape (L, A, K).
        room: What the chosen costs may add up to, shape (K,).
        mask: Bool of shape (L, A), True where the layer may take the action.

    Returns:
        Damage per unit, float64 of shape (K,), at least 0; zero where the resource is not scarce,
        or where nothing fits.

    Example:
        >>> damage, cost = np.array([[0.0, 1.0]]), np.array([[[8.0], [4.0]]])
        >>> resource_prices(damage, cost, np.array([6.0]), np.ones((1, 2), bool)).tolist()
        [0.25]
    """
    least = np.where(mask[..., None], cost, np.inf).min(axis=1)
    usage = np.where(mask[..., None], cost - least[:, None], 0.0)
    left = room - least.sum(axis=0)
    unit = np.where(np.isfinite(left) & (left > 0.0), left, 1.0)
    share = np.where(np.isfinite(left), left / unit, usage.sum() + 1.0)
    shifted = np.where(mask, damage - np.where(mask, damage, np.inf).min(axis=1)[:, None], np.inf)
    scale = float(shifted[mask].max()) or 1.0
    prices = _prices(shifted / scale, usage / unit, share)
    return np.zeros(len(unit)) if prices is None else prices * scale / unit


def _prices(damage: np.ndarray, usage: np.ndarray, room: np.ndarray) -> np.ndarray | None:
    """Prices the K resources by the dual of the linear relaxation; None when it has no solution."""
    layer, action = np.nonzero(np.isfinite(damage))
    one_each = sparse.csr_array((np.ones(layer.size), (layer, np.arange(layer.size))))
    result = optimize.linprog(
        damage[layer, action],
        A_ub=usage[layer, action].T,
        b_ub=room,
        A_eq=one_each,
        b_eq=np.ones(len(damage)),
        method="highs",
    )
    return np.maximum(-result.ineqlin.marginals, 0.0) if result.status == 0 else None


def _good_choice(
    damage: np.ndarray, usage: np.ndarray, room: np.ndarray, choice: np.ndarray
) -> np.ndarray | None:
    """Repairs and improves a choice by single moves; None when the moves cannot make it fit."""
    rows = np.arange(len(choice))
    choice = choice.copy()
    for _ in range(_MOVES_PER_LAYER * len(choice)):
        total = usage[rows, choice].sum(axis=0)
        moved = total - usage[rows, choice][:, None] + usage
        change = damage - damage[rows, choice][:, None]
        excess = np.maximum(total - room, 0.0).sum()
        if excess > 0.0:
            relief = excess - np.maximum(moved - room, 0.0).sum(axis=-1)
            useful = relief > 1e-12 * excess
            score = np.where(
                useful, np.maximum(change, 0.0) / np.where(useful, relief, 1.0), np.inf
            )
        else:
            score = np.where((moved <= room).all(axis=-1) & (change < 0.0), change, np.inf)
        layer, action = np.unravel_index(score.argmin(), score.shape)
        if not np.isfinite(score[layer, action]):
            return choice if excess == 0.0 else None
        choice[layer] = action
    return None
