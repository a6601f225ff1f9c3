"""The cheapest-damage choice of one action per layer inside a budget, solved exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from tf_metacompress.errors import InfeasibleBudgetError, MetacompressError, invalid
from tf_metacompress.policy.relaxation import survivors

_MAX_CUTS = 50
_OBJECTIVE_RANGE = 1e4
_ROW_SCALE = 1e3
_SHOWN_WHOLE = 100.0


@dataclass(frozen=True, eq=False)
class Allocation:
    """One action per layer.

    Attributes:
        choice: Index of each layer's action, int64 of shape (L,).
        damage: Sum of the chosen damages, in the unit of `damage`.
        cost: Sum of the chosen costs plus what is fixed, float64 of shape (K,).
    """

    choice: np.ndarray
    damage: float
    cost: np.ndarray


def allocate(
    damage: np.ndarray,
    cost: np.ndarray,
    budget: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
    resources: Sequence[str] | None = None,
) -> Allocation:
    """Chooses one action per layer, with the least damage that fits the budget.

    This is the multiple-choice knapsack problem with K resources. Actions that another one of the
    same layer beats in everything are left out first; the rest is a small mixed-integer program.

    Args:
        damage: Damage of A actions on L layers, shape (L, A), any finite unit; smaller is better.
        cost: Cost of each action in K resources, shape (L, A, K).
        budget: What the chosen costs may add up to, shape (K,); met to within a billionth.
        mask: Bool of shape (L, A), True where the layer may take the action; None allows all. Where
            it is False, `damage` and `cost` are not looked at.
        fixed: Cost that no choice changes, shape (K,), which counts against the budget; None is
            zero.
        resources: Names of the K resources, for errors.

    Returns:
        The choice, its damage and its cost.

    Raises:
        InvalidArgumentError: If shapes do not fit, a value that matters is not finite, or a layer
            has no allowed action.
        InfeasibleBudgetError: If nothing fits; `smallest` names the least reachable of each
            resource.

    Example:
        >>> damage = [[0.0, 1.0], [0.0, 5.0]]
        >>> cost = [[[8.0], [4.0]], [[8.0], [4.0]]]
        >>> allocate(damage, cost, [12.0]).choice.tolist()
        [1, 0]
    """
    problem = _Problem.checked(damage, cost, budget, mask, fixed)
    names = _names(resources, problem.budget.size)
    problem.check_reachable(names)
    choice = problem.solve(names)
    return problem.allocation(choice)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Problem:
    """A checked problem: arrays of shape (L, A), (L, A, K), (K,), (L, A), (K,)."""

    damage: np.ndarray
    cost: np.ndarray
    budget: np.ndarray
    mask: np.ndarray
    fixed: np.ndarray

    @classmethod
    def checked(
        cls,
        damage: np.ndarray,
        cost: np.ndarray,
        budget: np.ndarray,
        mask: np.ndarray | None,
        fixed: np.ndarray | None,
    ) -> "_Problem":
        damage, cost, budget = (np.asarray(a, dtype=np.float64) for a in (damage, cost, budget))
        mask = np.ones(damage.shape, bool) if mask is None else np.asarray(mask, dtype=bool)
        fixed = np.zeros(budget.shape) if fixed is None else np.asarray(fixed, dtype=np.float64)
        shapes = {
            "damage": damage.shape,
            "cost": cost.shape,
            "budget": budget.shape,
            "mask": mask.shape,
            "fixed": fixed.shape,
        }
        fits = damage.ndim == 2 and budget.ndim == 1 and damage.size > 0
        fits = fits and cost.shape == (*damage.shape, budget.size)
        if not fits or mask.shape != damage.shape or fixed.shape != budget.shape:
            raise invalid(
                "Shapes must be damage and mask (L, A), cost (L, A, K), budget and fixed (K,).",
                **shapes,
            )
        for name, values in (("damage", damage[mask]), ("cost", cost[mask]), ("fixed", fixed)):
            if not np.isfinite(values).all():
                raise invalid(f"`{name}` must be finite wherever an action is allowed.")
        if np.isnan(budget).any():
            raise invalid("`budget` must not hold NaN.", budget=budget.tolist())
        empty = np.flatnonzero(~mask.any(axis=1))
        if empty.size:
            raise invalid("Each layer needs an allowed action.", layers_without=empty.tolist())
        return cls(damage=damage, cost=cost, budget=budget, mask=mask, fixed=fixed)

    def allocation(self, choice: np.ndarray) -> Allocation:
        rows = np.arange(len(choice))
        total = self.cost[rows, choice].sum(axis=0) + self.fixed
        return Allocation(choice=choice, damage=float(self.damage[rows, choice].sum()), cost=total)

    def fits(self, choice: np.ndarray) -> bool:
        cost = self.allocation(choice).cost
        return bool((cost <= self.budget + _rounding(self.budget)).all())

    def smallest(self, names: Sequence[str]) -> dict[str, float]:
        least = np.where(self.mask[..., None], self.cost, np.inf).min(axis=1).sum(axis=0)
        return dict(zip(names, (least + self.fixed).tolist(), strict=True))

    def check_reachable(self, names: Sequence[str]) -> None:
        smallest = self.smallest(names)
        budget = dict(zip(names, self.budget.tolist(), strict=True))
        for name, least in smallest.items():
            if least > budget[name] + _rounding(budget[name]):
                raise InfeasibleBudgetError(
                    f"The budget cannot be reached: the smallest {name} is {_shown(least)}. "
                    f"Received: {name}={budget[name]:,.6g}. Allow at least {_shown(least)}.",
                    smallest=smallest,
                )

    def solve(self, names: Sequence[str]) -> np.ndarray:
        best = np.where(self.mask, self.damage, np.inf).argmin(axis=1)
        if self.fits(best):
            return best
        kept = self.mask & ~_dominated(self.damage, self.cost, self.mask)
        program = _Program.of(self, kept)
        cuts: list[np.ndarray] = []
        while program is not None and len(cuts) < _MAX_CUTS:
            choice = program.solve(cuts)
            if choice is None:
                break
            if self.fits(choice):
                return choice
            cuts.append(choice)
        raise InfeasibleBudgetError(
            "The budgets cannot be reached together, though each can alone. Received: "
            + ", ".join(f"{n}={b:,.6g}" for n, b in zip(names, self.budget, strict=True))
            + ". Allow more of one.",
            smallest=self.smallest(names),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Program:
    """The mixed-integer program of a problem; one binary variable per remaining (layer, action)."""

    objective: np.ndarray
    layer: np.ndarray
    action: np.ndarray
    usage: np.ndarray
    room: np.ndarray

    @classmethod
    def of(cls, problem: _Problem, kept: np.ndarray) -> "_Program | None":
        """Scales a problem so that the solver's absolute tolerances are small beside its numbers.

        Gives None when some layer has no action that fits even beside the least of all others.
        """
        limited = np.isfinite(problem.budget)
        least = np.where(kept[..., None], problem.cost, np.inf).min(axis=1)
        room = np.maximum(problem.budget - problem.fixed - least.sum(axis=0), 0.0)[limited]
        unit = np.where(room > 0.0, room, 1.0)
        usage = np.where(kept[..., None], problem.cost - least[:, None], 0.0)[..., limited] / unit
        rounding = _rounding(problem.budget[limited]) / unit
        kept = kept & (usage <= room / unit + rounding).all(axis=-1)
        if not kept.any(axis=1).all():
            return None
        damage = np.where(kept, problem.damage, np.inf)
        damage = damage - damage.min(axis=1, keepdims=True)
        scale = _largest(damage[kept])
        layer, action = np.nonzero(survivors(damage / scale, usage, room / unit))
        objective = damage[layer, action] / scale
        return cls(
            objective=objective / _largest(objective) * _OBJECTIVE_RANGE,
            layer=layer,
            action=action,
            usage=usage[layer, action] * _ROW_SCALE,
            room=(room / unit + rounding) * _ROW_SCALE,
        )

    def solve(self, cuts: Sequence[np.ndarray]) -> np.ndarray | None:
        """Gives the best action of each layer, or None when nothing fits."""
        size = self.objective.size
        num_layers = self.layer[-1] + 1
        one_each = sparse.csr_array((np.ones(size), (self.layer, np.arange(size))))
        constraints = [
            optimize.LinearConstraint(one_each, 1.0, np.inf),
            optimize.LinearConstraint(self.usage.T, -np.inf, self.room),
        ]
        for cut in cuts:
            same = (cut[self.layer] == self.action).astype(float)
            constraints.append(optimize.LinearConstraint(same[None], -np.inf, num_layers - 1))
        result = optimize.milp(
            self.objective,
            integrality=np.ones(size),
            bounds=optimize.Bounds(0.0, 1.0),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
        if result.status == 2:
            return None
        if result.x is None:
            raise MetacompressError(f"The allocation could not be solved: {result.message}")
        chosen = np.flatnonzero(result.x > 0.5)
        chosen = chosen[np.argsort(-self.objective[chosen], kind="stable")]
        choice = np.zeros(num_layers, dtype=np.int64)
        choice[self.layer[chosen]] = self.action[chosen]
        return choice


def _dominated(damage: np.ndarray, cost: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Marks actions that another one of the layer equals or beats in everything; shape (L, A)."""
    values = np.concatenate([damage[..., None], cost], axis=-1)
    values = np.where(mask[..., None], values, np.inf)
    order = np.arange(damage.shape[1])
    marked = np.zeros(damage.shape, dtype=bool)
    for row, layer in enumerate(values):
        no_worse = (layer[:, None] <= layer[None]).all(axis=-1)
        better = (layer[:, None] < layer[None]).any(axis=-1)
        first = order[:, None] < order[None]
        marked[row] = (no_worse & (better | first)).any(axis=0)
    return marked


def _largest(values: np.ndarray) -> float:
    """Gives the largest of some values that are at least 0, or 1 when all are 0."""
    return float(values.max()) or 1.0


def _rounding(budget: np.ndarray | float) -> np.ndarray:
    """Allows for the rounding of sums when they are compared with a budget."""
    return np.where(np.isfinite(budget), 1e-9 * np.abs(budget), 0.0)


def _shown(least: float) -> str:
    """An amount rounded up, so that a budget of what is shown can be reached."""
    if least >= _SHOWN_WHOLE:
        return f"{math.ceil(least):,}"
    unit = 10.0 ** (math.floor(math.log10(least)) - 3) if least > 0.0 else 1.0
    return f"{math.ceil(least / unit) * unit:.6g}"


def _names(resources: Sequence[str] | None, count: int) -> tuple[str, ...]:
    names = tuple(str(k) for k in range(count)) if resources is None else tuple(resources)
    if len(names) != count:
        raise invalid("`resources` must name each resource.", resources=names, count=count)
    return names
