"""What must hold of actions and device before a problem is made of them."""

import math
from collections.abc import Sequence

import numpy as np

from tf_metacompress.errors import InfeasibleBudgetError, invalid
from tf_metacompress.policy import Action, CostTable, DeviceProfile, LayerInfo

_RATIOS = {"size_ratio": "size_bytes", "macs_ratio": "macs"}
_STEP = 1e-3


def check_device(
    profile: DeviceProfile, infos: Sequence[LayerInfo], actions: Sequence[Action]
) -> None:
    """Raises unless a device can run one of the actions on every layer.

    Args:
        profile: The device.
        infos: The compressible layers.
        actions: What may be done to a layer.

    Raises:
        InvalidArgumentError: Naming the layers without an action, and the bits on both sides.
    """
    without = [info for info in infos if not profile.actions(info, actions).any()]
    if without:
        raise invalid(
            "The device must be able to run one of the actions on every layer.",
            "Give `actions` with bits that it stores, or another device.",
            device=profile.name,
            layers=[info.name for info in without],
            device_bits=sorted({bits for info in without for bits in profile.bits(info.kind)}),
            action_bits=sorted({action.weight_bits for action in actions}),
        )


def check_actions(actions: Sequence[Action]) -> tuple[Action, ...]:
    """Checks what may be done to a layer.

    Args:
        actions: The actions.

    Returns:
        The same, as a tuple.

    Raises:
        InvalidArgumentError: When there are none, or one removes more than single weights.
    """
    actions = tuple(actions)
    patterns = sorted({action.pattern for action in actions})
    if patterns != ["unstructured"]:
        raise invalid(
            "`actions` must hold at least one Action, all of pattern 'unstructured'.",
            actions=len(actions),
            patterns=patterns,
        )
    return actions


def with_ways_out(error: InfeasibleBudgetError, table: CostTable) -> InfeasibleBudgetError:
    """Tells the smallest budgets as the ratios that they are asked in, and what no action changes.

    Args:
        error: That nothing fits.
        table: The actions and what each costs.

    Returns:
        An error that says more.
    """
    smallest = [
        f"{ratio}={_rounded_up(error.smallest[resource] / table.reference[resource])}"
        for ratio, resource in _RATIOS.items()
        if resource in error.smallest
    ]
    words = [str(error)]
    if smallest:
        words.append(f"Each taken alone, as a share of float32: {', '.join(smallest)}.")
    if "macs" in table.resources and not _varies(table, "macs"):
        words.append(
            "Zeros save no multiply-accumulates on this device; removed channels do: a Rule with "
            "pattern='channel', or Budget(latency_ms=...)."
        )
    return InfeasibleBudgetError(" ".join(words), smallest=error.smallest)


def _rounded_up(share: float) -> str:
    return f"{math.ceil(share / _STEP) * _STEP:.3g}"


def _varies(table: CostTable, resource: str) -> bool:
    cost = table.cost[:, :, table.resources.index(resource)]
    least, most = np.where(table.mask, cost, np.inf), np.where(table.mask, cost, -np.inf)
    return bool((least.min(axis=1) < most.max(axis=1)).any())
