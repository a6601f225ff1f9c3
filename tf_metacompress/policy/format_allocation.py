"""The choice of actions where float32 beside integers costs something itself."""

from dataclasses import replace
from functools import partial

import numpy as np

from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy.allocate import Allocation, allocate
from tf_metacompress.policy.costs import CostTable
from tf_metacompress.policy.format_borders import fastest_formats, in_float

_LATENCY = "latency_ms"
_MOST_TRIES = 8
_ROUNDING = 1.0 + 1e-9


def allocate_formats(damage: np.ndarray, table: CostTable, limits: np.ndarray) -> Allocation:
    """Chooses one action per layer as `allocate` does, borders between formats counted.

    A border depends on two layers, which a sum over layers cannot say. Room for the borders is
    therefore taken from the limit until the choice has it, and beside that the formats of least
    latency are tried. What is found meets every limit; where borders are priced it need not be the
    least damage that does.

    Args:
        damage: Shape (L, A).
        table: The actions and what each costs.
        limits: What may be spent of each resource, shape (K,).

    Returns:
        The choice; its cost includes the borders.

    Raises:
        InfeasibleBudgetError: If nothing fits.
    """
    choose = partial(allocate, damage, table.cost, resources=table.resources)
    if not table.border_ms:
        return choose(limits, mask=table.mask, fixed=table.fixed)
    found = []
    try:
        found.append(_fastest(choose, table, limits))
    except InfeasibleBudgetError as error:
        refused = error
    mixed = _with_room(choose, table, limits)
    if mixed is not None:
        found.append(mixed)
    if not found:
        raise refused
    return min(found, key=lambda one: one.damage)


def _fastest(choose: partial, table: CostTable, limits: np.ndarray) -> Allocation:
    """The least damage in the formats that are fastest together."""
    latency = table.cost[:, :, table.resources.index(_LATENCY)]
    floats = np.array([in_float(action) for action in table.actions])
    by_format = [
        np.where(table.mask & (floats == wanted), latency, np.inf).min(axis=1)
        for wanted in (False, True)
    ]
    _, fastest = fastest_formats(list(zip(*by_format, strict=True)), table.border_ms)
    mask = table.mask & (floats == np.array(fastest)[:, None])
    fixed = table.fixed + table.border_cost(fastest)
    return choose(limits, mask=mask, fixed=fixed)


def _with_room(choose: partial, table: CostTable, limits: np.ndarray) -> Allocation | None:
    """The least damage in any formats, under limits that leave room for its borders."""
    left = np.array(limits, np.float64)
    for _ in range(_MOST_TRIES):
        try:
            found = choose(left, mask=table.mask, fixed=table.fixed)
        except InfeasibleBudgetError:
            return None
        floats = [in_float(table.actions[index]) for index in found.choice]
        borders = table.border_cost(floats)
        if (found.cost + borders <= limits * _ROUNDING).all():
            return replace(found, cost=found.cost + borders)
        left = np.where(borders > 0.0, limits - borders, left)
    return None
