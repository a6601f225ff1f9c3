"""Budgets and devices for the tests of `meta`."""

import numpy as np

from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.policy import Budget, DeviceProfile, cost_table
from tf_metacompress.policy import device as find_device

FLOAT_DEVICE = DeviceProfile(
    name="float", weight_bits={"*": (32,)}, sparsity_pays={"size_bytes": True}
)
"""Runs float weights only, so that nothing is rounded and every function stays smooth."""


def table_for(model, actions, device="android-arm64"):
    infos = describe(model)
    return cost_table(infos, kernel_arrays(model), device=find_device(device), actions=actions)


def extremes(table):
    """The least and the most that the allowed actions can cost, in bytes."""
    cost, fixed = table.cost[:, :, 0], table.fixed[0]
    least = np.where(table.mask, cost, np.inf).min(axis=1).sum() + fixed
    most = np.where(table.mask, cost, -np.inf).max(axis=1).sum() + fixed
    return least, most


def budget_between(model, share, actions, device="android-arm64"):
    """A size between the least (0) and the most (1) that the actions can cost."""
    least, most = extremes(table_for(model, actions, device))
    return Budget(size_bytes=float(least + share * (most - least)))
