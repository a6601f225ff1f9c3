"""A compression task as arrays: what Φ reads, what may be chosen, what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.meta.features import features
from tf_metacompress.meta.prior import prior_damage
from tf_metacompress.policy import (
    Action,
    Allocation,
    Budget,
    CostTable,
    DeviceProfile,
    LatencyTable,
    LayerInfo,
    LayerPlan,
    Policy,
    action_grid,
    allocate,
    cost_table,
    fitting_sparsity,
)
from tf_metacompress.policy import device as device_profile

DEFAULT_ACTIONS = action_grid()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One model, budget and device, read into arrays.

    Attributes:
        infos: The compressible layers, in execution order.
        kernels: Their kernels by path, BatchNormalization folded.
        table: The actions and what each costs.
        limits: Absolute limit of each resource in the table.
        prior: Prior damage, float64 (layers, actions).
        features: What Φ reads, float64 (layers, actions, features).
        device: Name of the device.
    """

    infos: tuple[LayerInfo, ...]
    kernels: Mapping[str, tuple[np.ndarray, ...]]
    table: CostTable
    limits: np.ndarray
    prior: np.ndarray
    features: np.ndarray
    device: str

    @property
    def tightest(self) -> int:
        """Index of the resource whose limit is the smallest share of what could be spent."""
        return _tightest(self.table, self.limits)

    def relaxed_cost(self) -> np.ndarray:
        """Cost in the tightest resource as a share of what its budget leaves to choose."""
        resource = self.tightest
        room = self.limits[resource] - self.table.fixed[resource]
        return self.table.cost[:, :, resource] / room

    def allocate(self, damage: np.ndarray) -> Allocation:
        """Chooses the actions of least total damage within every limit, exactly.

        Args:
            damage: Shape (layers, actions).

        Returns:
            The choice.

        Raises:
            InfeasibleBudgetError: When nothing fits.
        """
        return allocate(
            damage,
            self.table.cost,
            self.limits,
            mask=self.table.mask,
            fixed=self.table.fixed,
            resources=self.table.resources,
        )

    def policy(self, damage: np.ndarray, name: str, **provenance: str | float | int) -> Policy:
        """Turns predicted damages into a policy.

        Args:
            damage: Shape (layers, actions).
            name: Name of the policy.
            **provenance: What to note in it.

        Returns:
            A policy within every limit.
        """
        choice = self.allocate(damage).choice
        plans = [
            _plan(info, self.table.actions[index])
            for info, index in zip(self.infos, choice, strict=True)
        ]
        return Policy.from_plans(plans, name=name, provenance={"device": self.device, **provenance})


def _plan(info: LayerInfo, action: Action) -> LayerPlan:
    return LayerPlan(
        layer=info.name,
        sparsity=fitting_sparsity(info, action.sparsity),
        weight_bits=action.weight_bits,
        pattern=action.pattern,
    )


def _tightest(table: CostTable, limits: np.ndarray) -> int:
    cost = np.where(table.mask[:, :, None], table.cost, 0.0)
    largest = cost.max(axis=1).sum(axis=0)
    return int(np.argmin((limits - table.fixed) / np.maximum(largest, 1e-12)))


def make_problem(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    *,
    actions: tuple[Action, ...] = DEFAULT_ACTIONS,
    latency: LatencyTable | None = None,
) -> Problem:
    """Reads a model, a budget and a device into a problem.

    Args:
        model: A built Keras 3 model. It is not changed.
        budget: What the compressed model may cost.
        device: Name of a device or a profile.
        actions: What may be done to a layer; the device masks what it cannot run.
        latency: Measured latencies, needed for a budget in milliseconds.

    Returns:
        The problem.

    Raises:
        UnsupportedModelError: When the model has nothing to compress.
        InvalidArgumentError: When the budget limits nothing that can be costed.
    """
    if not isinstance(budget, Budget):
        raise wrong_type("`budget` must be a Budget.", budget=budget)
    resources = check_resources(budget)
    layers = describe(model)
    profile = device_profile(device)
    kernels = kernel_arrays(model)
    table = cost_table(
        layers, kernels, device=profile, actions=actions, latency=latency, resources=resources
    )
    infos = tuple(info for info in layers if info.compressible)
    limits = table.limits(budget)
    prior = np.stack([prior_damage(kernels[i.name], i.kernels, table.actions) for i in infos])
    resource = _tightest(table, limits)
    room = limits[resource] - table.fixed[resource]
    return Problem(
        infos=infos,
        kernels=kernels,
        table=table,
        limits=limits,
        prior=prior,
        features=features(infos, table, prior, resource, max(room, 1e-6)),
        device=profile.name,
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


def check_resources(budget: Budget) -> tuple[str, ...]:
    """Resources that a budget limits.

    Args:
        budget: The budget.

    Returns:
        At least one resource.

    Raises:
        InvalidArgumentError: When it limits the accuracy only.
    """
    if not budget.resources:
        raise invalid(
            "The budget must limit a size, the multiply-accumulates or the latency.",
            "Add size_ratio=0.1, for example.",
            budget=budget,
        )
    return budget.resources
