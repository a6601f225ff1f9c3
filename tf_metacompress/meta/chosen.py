"""What a policy chose, in the terms of a problem, be it among the problem's actions or not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tf_metacompress.meta.features import LAYER_FEATURES, action_features
from tf_metacompress.meta.model_reading import weight_losses
from tf_metacompress.meta.problem import Problem, action_arrays
from tf_metacompress.policy import (
    WEIGHT_BITS,
    Action,
    LatencyTable,
    LayerInfo,
    LayerPlan,
    cost_table,
    fitting_sparsity,
)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a policy does to L layers.

    Attributes:
        actions: The nearest action on single weights of each layer.
        features: What Φ reads of it, float64 (L, F).
        prior: Its prior damage, float64 (L,).
        cost: Its cost in K resources, float64 (L, K).
        notes: Where it is not exactly what the policy does.
    """

    actions: tuple[Action, ...]
    features: np.ndarray
    prior: np.ndarray
    cost: np.ndarray
    notes: tuple[str, ...]


def chosen_by(
    problem: Problem, plans: Sequence[LayerPlan], latency: LatencyTable | None = None
) -> Chosen:
    """Finds plans among the problem's actions, and judges the others one by one.

    Args:
        problem: The problem.
        plans: One a layer.
        latency: Measured latencies, needed when the problem's budget limits them.

    Returns:
        What the plans do.
    """
    rows, notes = [], []
    for row, (info, plan) in enumerate(zip(problem.infos, plans, strict=True)):
        action, note = _weights_only(problem, info, plan)
        notes += note
        same = [a for a in alike(info, action, problem) if problem.table.mask[row, a]]
        if same:
            cost = problem.table.cost[row]
            at = min(same, key=lambda index, cost=cost: tuple(cost[index]))
            known = problem.features[row, at], problem.prior[row, at], cost[at]
        else:
            known = _judged_alone(problem, row, action, latency)
        rows.append((action, *known))
    actions, features, prior, cost = zip(*rows, strict=True)
    return Chosen(
        actions=actions,
        features=np.stack(features),
        prior=np.array(prior),
        cost=np.stack(cost),
        notes=tuple(notes),
    )


def _weights_only(problem: Problem, info: LayerInfo, plan: LayerPlan) -> tuple[Action, list[str]]:
    """The action on single weights that is nearest to a plan, and a note where it is another."""
    sparsity, notes = plan.sparsity, []
    if plan.threshold is not None:
        magnitudes = np.concatenate([np.abs(k).ravel() for k in problem.kernels[info.name]])
        sparsity = min(float(np.mean(magnitudes < plan.threshold)), 1.0 - 1.0 / magnitudes.size)
        notes.append(f"{info.name}: the threshold is judged as {sparsity:.0%} zeros.")
    if plan.pattern != "unstructured" and sparsity > 0.0:
        notes.append(f"{info.name}: pattern {plan.pattern!r} is judged as single weights.")
    if plan.weight_bits <= 8 and plan.quantizer != "symmetric":
        notes.append(f"{info.name}: quantizer {plan.quantizer!r} is judged as 'symmetric'.")
    return Action(sparsity=sparsity, weight_bits=plan.weight_bits), notes


def alike(info: LayerInfo, action: Action, problem: Problem) -> list[int]:
    """Finds the actions of a problem that are carried out alike; small layers round sparsities.

    Args:
        info: The layer.
        action: The action.
        problem: The problem.

    Returns:
        Indices.
    """
    wanted = fitting_sparsity(info, action.sparsity), action.weight_bits
    return [
        index
        for index, other in enumerate(problem.table.actions)
        if (fitting_sparsity(info, other.sparsity), other.weight_bits) == wanted
    ]


def _judged_alone(
    problem: Problem, row: int, action: Action, latency: LatencyTable | None
) -> tuple[np.ndarray, float, np.ndarray]:
    """Features, prior and cost of an action that is not among the problem's."""
    info, resource = problem.infos[row], problem.tightest
    profile = replace(problem.profile, weight_bits={"*": WEIGHT_BITS})
    table = cost_table(
        (info,),
        problem.kernels,
        device=profile,
        actions=(action,),
        latency=latency,
        resources=problem.table.resources,
    )
    losses = weight_losses((info,), problem.kernels, table.actions)
    arrays = action_arrays(losses, table, resource)
    dearest = problem.table.cost[row, :, resource].max()
    relative = table.cost[:, :, resource] / max(dearest, 1e-12)
    of_action = action_features(replace(arrays, relative_cost=relative))[0, 0]
    features = problem.features[row, 0].copy()
    begin = len(LAYER_FEATURES)
    features[begin : begin + len(of_action)] = of_action
    return features, float(arrays.prior[0, 0]), table.cost[0, 0]
