"""A compression task as arrays: what Φ reads, what may be chosen, what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.anatomy import check_keras_model
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.meta.features import (
    ActionArrays,
    action_features,
    features,
    layer_features,
    task_features,
)
from tf_metacompress.meta.model_reading import ModelReading, WeightLosses, read_model
from tf_metacompress.meta.problem_checks import check_device, with_ways_out
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
    allocate_formats,
    check_budget,
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
        profile: The device.
    """

    infos: tuple[LayerInfo, ...]
    kernels: Mapping[str, tuple[np.ndarray, ...]]
    table: CostTable
    limits: np.ndarray
    prior: np.ndarray
    features: np.ndarray
    profile: DeviceProfile

    @property
    def tightest(self) -> int:
        """Index of the resource whose limit is the smallest share of what could be spent."""
        return _tightest(self.table, self.limits)

    def num_examples(self, most_macs: float, fewest: int, most: int) -> int:
        """Says on how many examples a pass over the model stays within some work.

        Args:
            most_macs: Multiply-accumulates of the pass.
            fewest: Examples of a model however large.
            most: Examples of a model however small.

        Returns:
            A number in [fewest, most].
        """
        macs = max(sum(info.macs for info in self.infos), 1)
        return int(np.clip(most_macs / macs, fewest, most))

    def relaxed_cost(self) -> np.ndarray:
        """Cost in the tightest resource as a share of what its budget leaves to choose."""
        resource = self.tightest
        room = self.limits[resource] - self.table.fixed[resource]
        return self.table.cost[:, :, resource] / room

    def allocate(self, damage: np.ndarray) -> Allocation:
        """Chooses the actions of least total damage within every limit.

        Exactly, unless a latency is limited and the change between formats has a price.

        Args:
            damage: Shape (layers, actions).

        Returns:
            The choice.

        Raises:
            InfeasibleBudgetError: When nothing fits.
        """
        try:
            return allocate_formats(damage, self.table, self.limits)
        except InfeasibleBudgetError as error:
            raise with_ways_out(error, self.table) from error

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
        return Policy.from_plans(
            plans, name=name, provenance={"device": self.profile.name, **provenance}
        )


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
    check_budget(budget)
    check_keras_model(model)
    return problem_of(read_model(model, actions), budget, device, actions, latency)


def problem_of(
    reading: ModelReading,
    budget: Budget,
    device: str | DeviceProfile,
    actions: tuple[Action, ...],
    latency: LatencyTable | None = None,
) -> Problem:
    """Joins a model that has been read with a budget and a device.

    Args:
        reading: The model, read with the same actions.
        budget: What the compressed model may cost, checked by `check_budget`.
        device: Name of a device or a profile.
        actions: What may be done to a layer; the device masks what it cannot run.
        latency: Measured latencies, needed for a budget in milliseconds.

    Returns:
        The problem.

    Raises:
        InvalidArgumentError: When the device can run none of the actions on some layer.
    """
    profile = device_profile(device)
    check_device(profile, reading.infos, actions)
    table = cost_table(
        reading.layers,
        reading.kernels,
        device=profile,
        actions=actions,
        latency=latency,
        resources=budget.resources,
    )
    limits = table.limits(budget)
    arrays = action_arrays(reading.losses, table, _tightest(table, limits))
    return Problem(
        infos=reading.infos,
        kernels=reading.kernels,
        table=table,
        limits=limits,
        prior=arrays.prior,
        features=_features(reading, arrays, table, limits),
        profile=profile,
    )


def action_arrays(losses: WeightLosses, table: CostTable, resource: int) -> ActionArrays:
    """Joins what the weights tell of each action with what the action costs.

    Args:
        losses: What each action takes from the weights.
        table: The actions and what each costs.
        resource: Index of the resource whose cost counts.

    Returns:
        Prior damage, shares of energy lost, relative cost.
    """
    cost = table.cost[:, :, resource]
    return ActionArrays(
        actions=table.actions,
        prior=losses.prior,
        noise=losses.noise,
        removed=losses.removed,
        relative_cost=cost / np.maximum(cost.max(axis=1, keepdims=True), 1e-12),
    )


def _features(
    reading: ModelReading, arrays: ActionArrays, table: CostTable, limits: np.ndarray
) -> np.ndarray:
    resource = _tightest(table, limits)
    room = max(limits[resource] - table.fixed[resource], 1e-6)
    largest = np.where(table.mask, table.cost[:, :, resource], 0.0).max(axis=1).sum()
    return features(
        layer_features(reading.infos, reading.surroundings),
        action_features(arrays),
        task_features(room, float(largest), reading.infos),
    )
