"""Works out why a policy does what it does: runner-ups, prices, and the features that drove it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.errors import InfeasibleBudgetError, wrong_type
from tf_metacompress.meta import damage_network
from tf_metacompress.meta.chosen import Chosen, alike, chosen_by
from tf_metacompress.meta.explanation import (
    BudgetChange,
    Explanation,
    LayerExplanation,
    Option,
    ResourceUse,
)
from tf_metacompress.meta.features import FEATURE_GROUPS, FEATURES
from tf_metacompress.meta.narrowed_policy import without_channels
from tf_metacompress.meta.policy_origin import noted_budget
from tf_metacompress.meta.problem import Problem, make_problem
from tf_metacompress.policy import (
    Allocation,
    Budget,
    DeviceProfile,
    LatencyTable,
    Policy,
    fitting_sparsity,
    resource_prices,
)
from tf_metacompress.policy import device as device_profile
from tf_metacompress.policy.format_borders import in_float
from tf_metacompress.policy.frozen_mapping import FrozenMapping

_KIB = 1024.0
_OTHER_STEP = 0.01
_DEFAULT_DEVICE = "android-arm64"
_WHOLE = Budget(size_ratio=1.0)


def explain(
    compressor: Any,
    model: keras.Model,
    policy: Policy,
    budget: Budget | None = None,
    device: str | DeviceProfile | None = None,
    latency: LatencyTable | None = None,
) -> Explanation:
    """Does what `MetaCompressor.explain` says.

    Args:
        compressor: Who judges.
        model: A built Keras 3 model. It is not changed.
        policy: The policy, made by anyone.
        budget: What the model may cost; None for what the policy notes, or else what it costs.
        device: Name or profile; None for what the policy notes, or else android-arm64.
        latency: Measured latencies, needed for a budget in milliseconds.

    Returns:
        The explanation, of the layers as they are when the channels that the policy removes are
        gone.

    Raises:
        ArgumentTypeError: If `policy` is not a Policy.
        InvalidArgumentError: If a rule of the policy fits no layer.
        UnsupportedModelError: When the model has nothing to compress.

    Example:
        >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, name="head")])
        >>> policy = tmc.Policy([tmc.Rule("head", sparsity=0.5, weight_bits=8)])
        >>> explain(tmc.MetaCompressor(), model, policy).layers[0].main_driver
        'prior alone'
    """
    if not isinstance(policy, Policy):
        raise wrong_type("`policy` must be a Policy.", policy=policy)
    profile = device_profile(device or policy.provenance.get("device", _DEFAULT_DEVICE))
    known = budget or noted_budget(policy)
    compressible_layers(model)  # an error of the model before one of the policy
    stands = without_channels(model, policy, profile, known, latency)
    given = {"actions": compressor.actions, "latency": stands.latency}
    problem = make_problem(stands.model, stands.budget or _WHOLE, profile, **given)
    chosen = chosen_by(problem, stands.policy.resolve(problem.infos), stands.latency)
    if known is None:
        problem = _limited(problem, _spent(problem, chosen))
    chosen = replace(chosen, notes=(*stands.notes, *chosen.notes))
    return _explanation(_Judge(compressor.phi, problem, chosen), policy.name, profile.name)


def _spent(problem: Problem, chosen: Chosen) -> np.ndarray:
    """What a policy takes of each resource, everything included."""
    borders = problem.table.border_cost([in_float(action) for action in chosen.actions])
    return chosen.cost.sum(axis=0) + problem.table.fixed + borders


def _limited(problem: Problem, limits: np.ndarray) -> Problem:
    """The same problem under other limits; the feature that tells them is told anew."""
    change = np.log10((limits - problem.table.fixed) / (problem.limits - problem.table.fixed))
    features = problem.features.copy()
    features[..., FEATURES.index("log_budget_share")] += change[problem.tightest]
    return replace(problem, limits=limits, features=features)


class _Judge:
    """Predictions for a problem, and for what a policy chose in it."""

    def __init__(self, phi: Sequence[Any], problem: Problem, chosen: Chosen) -> None:
        self.phi, self.problem, self.chosen = phi, problem, chosen
        self.damage, self.deviation = damage_network.predict(phi, problem.features, problem.prior)
        own = damage_network.predict(phi, chosen.features[:, None], chosen.prior[:, None])
        self.own_damage, self.own_deviation = (array[:, 0] for array in own)
        table = problem.table
        room = problem.limits - table.fixed
        self.prices = resource_prices(self.damage, table.cost, room, table.mask)

    def layer(self, row: int) -> LayerExplanation:
        """Explains one layer."""
        info, action = self.problem.infos[row], self.chosen.actions[row]
        resource = self.problem.tightest
        choice = Option(
            sparsity=action.sparsity,
            weight_bits=action.weight_bits,
            damage=float(self.own_damage[row]),
            deviation=float(self.own_deviation[row]),
            cost=float(self.chosen.cost[row, resource]),
        )
        return LayerExplanation(
            layer=info.name,
            kind=info.kind,
            choice=choice,
            runner_up=self._runner_up(row),
            drivers=self._drivers(row),
        )

    def _runner_up(self, row: int) -> Option | None:
        table, info = self.problem.table, self.problem.infos[row]
        mask = table.mask[row].copy()
        mask[alike(info, self.chosen.actions[row], self.problem)] = False
        if not mask.any():
            return None
        priced = np.where(mask, self.damage[row] + table.cost[row] @ self.prices, np.inf)
        index = int(priced.argmin())
        action = table.actions[index]
        return Option(
            sparsity=fitting_sparsity(info, action.sparsity),
            weight_bits=action.weight_bits,
            damage=float(self.damage[row, index]),
            deviation=float(self.deviation[row, index]),
            cost=float(table.cost[row, index, self.problem.tightest]),
        )

    def _drivers(self, row: int) -> Mapping[str, float]:
        """Leaves out one group of features at a time: they take their mean over the model."""
        own = self.chosen.features[row]
        mean = self.problem.features[self.problem.table.mask].mean(axis=0)
        without = np.tile(own, (len(FEATURE_GROUPS) + 1, 1))
        for place, names in enumerate(FEATURE_GROUPS.values(), start=1):
            columns = [FEATURES.index(name) for name in names]
            without[place, columns] = mean[columns]
        factor, _ = damage_network.predict(self.phi, without[None], np.ones((1, len(without))))
        change = np.log(factor[0, 0] / factor[0, 1:])
        return FrozenMapping(dict(zip(FEATURE_GROUPS, change.tolist(), strict=True)))

    def uses(self) -> list[ResourceUse]:
        """What the policy takes of each resource."""
        spent = _spent(self.problem, self.chosen)
        rows = zip(self.problem.limits, spent, self.prices, strict=True)
        return [
            ResourceUse(resource=name, limit=float(limit), cost=float(cost), price=float(price))
            for name, (limit, cost, price) in zip(self.problem.table.resources, rows, strict=True)
        ]

    def best(self, limits: np.ndarray) -> Allocation | None:
        """The allocation of least damage, or None when nothing fits."""
        try:
            return replace(self.problem, limits=limits).allocate(self.damage)
        except InfeasibleBudgetError:
            return None


def _explanation(judge: _Judge, name: str, device: str) -> Explanation:
    problem, resource = judge.problem, judge.problem.tightest
    best = judge.best(problem.limits)
    uses = judge.uses()
    own = uses.pop(resource)
    return Explanation(
        policy=name,
        device=device,
        resource=own.resource,
        limit=own.limit,
        cost=own.cost,
        price=own.price,
        damage=float(judge.own_damage.sum()),
        least_damage=None if best is None else best.damage,
        layers=tuple(judge.layer(row) for row in range(len(problem.infos))),
        more=_changed(judge, best, 1.0),
        less=_changed(judge, best, -1.0),
        notes=judge.chosen.notes,
        others=tuple(uses),
    )


def _changed(judge: _Judge, best: Allocation | None, sign: float) -> BudgetChange | None:
    """Compares the best choices at the budget and at a little more or less of it."""
    problem, resource = judge.problem, judge.problem.tightest
    limits = problem.limits.copy()
    in_bytes = problem.table.resources[resource].endswith("_bytes")
    amount = sign * (_KIB if in_bytes else _OTHER_STEP * limits[resource])
    limits[resource] += amount
    other = judge.best(limits)
    if best is None or other is None:
        return None
    actions = problem.table.actions
    layers = {
        info.name: f"{actions[old].sparsity:.0%}/{actions[old].weight_bits} bit → "
        f"{actions[new].sparsity:.0%}/{actions[new].weight_bits} bit"
        for info, old, new in zip(problem.infos, best.choice, other.choice, strict=True)
        if old != new
    }
    return BudgetChange(
        amount=float(amount),
        damage_change=other.damage - best.damage,
        layers=FrozenMapping(layers),
    )
