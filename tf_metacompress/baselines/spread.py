"""Policies that look at weights only: uniform, ERK, global magnitude, LAMP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import bisect

from tf_metacompress.anatomy import describe, kernel_arrays, select_compressible
from tf_metacompress.errors import InfeasibleBudgetError, check_choice
from tf_metacompress.policy import (
    WEIGHT_BITS,
    Budget,
    CostTable,
    DeviceProfile,
    Distribution,
    LayerInfo,
    LayerPlan,
    Policy,
    action_grid,
    check_budget,
    cost_table,
    distributions,
    fitting_sparsity,
)
from tf_metacompress.policy import device as device_profile

_LARGEST_SPARSITY = 0.999
_PRECISION = 1e-4


def uniform(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    weight_bits: int = 8,
) -> Policy:
    """Gives every layer the same sparsity, as low as the budget allows.

    Args:
        model: A built Keras 3 model. It is not changed.
        budget: What the compressed model may cost.
        device: Name of a device, or a profile.
        weight_bits: Bits of every layer; a layer that cannot have them gets the next more.

    Returns:
        A policy within the budget.

    Raises:
        InfeasibleBudgetError: When no sparsity reaches it.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="head")])
        >>> uniform(model, Budget(size_ratio=0.9)).name
        'uniform'
    """
    return _spread(distributions.uniform, model, budget, device, weight_bits)


def erk(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    weight_bits: int = 8,
) -> Policy:
    """Keeps more of small layers: the Erdős–Rényi kernel rule.

    Paper: Evci et al. 2020, arXiv:1911.11134. Arguments, result and errors as in `uniform`.
    """
    return _spread(distributions.erk, model, budget, device, weight_bits)


def global_magnitude(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    weight_bits: int = 8,
) -> Policy:
    """Removes the smallest weights of the whole model, one threshold for all layers.

    Arguments, result and errors as in `uniform`.
    """
    return _spread(distributions.global_magnitude, model, budget, device, weight_bits)


def lamp(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    weight_bits: int = 8,
) -> Policy:
    """Removes the weights of lowest layer-adaptive magnitude score.

    Paper: Lee et al. 2021, arXiv:2010.07611. Arguments, result and errors as in `uniform`.
    """
    return _spread(distributions.lamp, model, budget, device, weight_bits)


@dataclass(frozen=True)
class _Costing:
    """Costs of a plan with given bits, at any sparsity."""

    table: CostTable
    bits: tuple[int, ...]
    limits: np.ndarray

    def cost(self, sparsities: np.ndarray) -> np.ndarray:
        """Total cost in each resource, interpolated between the actions of the table."""
        total = self.table.fixed.astype(np.float64)
        for layer, (width, sparsity) in enumerate(zip(self.bits, sparsities, strict=True)):
            rows = [i for i, a in enumerate(self.table.actions) if a.weight_bits == width]
            grid = [self.table.actions[i].sparsity for i in rows]
            total += [
                np.interp(sparsity, grid, self.table.cost[layer, rows, resource])
                for resource in range(len(total))
            ]
        return total

    def excess(self, sparsities: np.ndarray) -> float:
        """How far a plan is over the tightest limit, as a share of that limit."""
        return float(np.max(self.cost(sparsities) / self.limits)) - 1.0


def _layer_bits(
    infos: Sequence[LayerInfo], profile: DeviceProfile, weight_bits: int
) -> tuple[int, ...]:
    """Bits of each layer: those wanted, or the next more that the device has for its kind."""
    offered = action_grid((0.0,), WEIGHT_BITS)
    bits = []
    for info in infos:
        allowed = profile.actions(info, offered)
        wide = [a.weight_bits for a, ok in zip(offered, allowed, strict=True) if ok]
        bits.append(min((b for b in wide if b >= weight_bits), default=max(wide)))
    return tuple(bits)


def _by_layer(
    distribution: Distribution, kernels: Sequence[Sequence[np.ndarray]], sparsity: float
) -> np.ndarray:
    """Spreads a sparsity over kernels; a layer with several gets their weighted mean."""
    spread = iter(distribution([kernel for layer in kernels for kernel in layer], sparsity))
    return np.array(
        [
            np.average([next(spread) for _ in layer], weights=[kernel.size for kernel in layer])
            for layer in kernels
        ]
    )


def _least_sparsity(
    spread: Callable[[float], np.ndarray], costing: _Costing, name: str
) -> np.ndarray:
    """Sparsities of the layers at the least global sparsity within every limit."""
    if costing.excess(spread(0.0)) <= 0.0:
        return spread(0.0)
    smallest = costing.cost(spread(_LARGEST_SPARSITY))
    if costing.excess(spread(_LARGEST_SPARSITY)) > 0.0:
        reached = dict(zip(costing.table.resources, smallest.round(1).tolist(), strict=True))
        limits = dict(zip(costing.table.resources, costing.limits.tolist(), strict=True))
        raise InfeasibleBudgetError(
            f"No sparsity of the {name} rule fits the budget. "
            f"Received: limits={limits}; the smallest reachable: {reached}. "
            "Allow more, use fewer weight_bits, or let a MetaCompressor choose.",
            smallest=reached,
        )
    root = bisect(
        lambda sparsity: costing.excess(spread(sparsity)), 0.0, _LARGEST_SPARSITY, xtol=_PRECISION
    )
    candidates = np.minimum(root + _PRECISION * np.arange(64), _LARGEST_SPARSITY)
    return next(
        (spread(s) for s in candidates if costing.excess(spread(s)) <= 0.0),
        spread(_LARGEST_SPARSITY),
    )


def _spread(
    distribution: Distribution,
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile,
    weight_bits: int,
) -> Policy:
    name = distribution.__name__
    check_budget(budget)
    check_choice("weight_bits", weight_bits, WEIGHT_BITS)
    layers = describe(model)
    infos = select_compressible(layers)
    profile = device_profile(device)
    bits = _layer_bits(infos, profile, weight_bits)
    kernels = kernel_arrays(model)
    table = cost_table(
        layers,
        kernels,
        device=profile,
        actions=action_grid(weight_bits=tuple(sorted(set(bits)))),
        resources=budget.resources,
    )
    costing = _Costing(table, bits, table.limits(budget))
    sparsities = _least_sparsity(
        lambda sparsity: _by_layer(distribution, [kernels[i.name] for i in infos], sparsity),
        costing,
        name,
    )
    plans = [
        LayerPlan(info.name, fitting_sparsity(info, float(sparsity)), width)
        for info, sparsity, width in zip(infos, sparsities, bits, strict=True)
    ]
    return Policy.from_plans(plans, name=name, provenance={"device": profile.name})
