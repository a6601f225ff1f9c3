"""Search over per-layer sparsity and bits: random, and Optuna's TPE."""

import numpy as np
from scipy.optimize import bisect

from tf_metacompress.anatomy import describe, kernel_arrays, select_compressible
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import (
    LayerPlan,
    Policy,
    action_grid,
    cost_table,
    fitting_sparsity,
)

BITS = (4, 8)
_WIDEST = 3.0
_LEAST_KEPT = 0.01


class Space:
    """Policies as one offset and one width a layer, scaled onto the budget.

    The kept share of layer l is min(1, exp(level + offset_l)); the level is the highest that the
    budget allows, so that no evaluation is spent on a policy that does not fit.

    Args:
        model: The trained model.
        budget: What a policy may cost.
        profile: The device.
    """

    def __init__(self, model, budget, profile):
        layers = describe(model)
        self.infos = select_compressible(layers)
        self.table = cost_table(
            layers,
            kernel_arrays(model),
            device=profile,
            actions=action_grid(),
            resources=budget.resources,
        )
        self.limits = self.table.limits(budget)
        self.device = profile.name
        self._rows = {
            bits: [i for i, a in enumerate(self.table.actions) if a.weight_bits == bits]
            for bits in BITS
        }
        self._grids = {
            bits: [self.table.actions[i].sparsity for i in rows]
            for bits, rows in self._rows.items()
        }

    def allowed(self, layer, bits):
        """The width wanted, or 8 where the device lacks it."""
        return bits if self.table.mask[layer, self._rows[bits][0]] else 8

    def excess(self, sparsities, bits):
        """How far a plan is over the tightest limit, as a share of it."""
        total = self.table.fixed.astype(float)
        for layer, (sparsity, width) in enumerate(zip(sparsities, bits, strict=True)):
            costs = self.table.cost[layer, self._rows[width]]
            total = total + [
                np.interp(sparsity, self._grids[width], costs[:, k]) for k in range(len(total))
            ]
        return float(np.max(total / self.limits)) - 1.0

    def policy(self, offsets, bits, name):
        """The policy of offsets and widths at the highest level within the budget.

        Raises:
            InfeasibleBudgetError: When even the sparsest is too large.
        """
        bits = [self.allowed(layer, width) for layer, width in enumerate(bits)]
        offsets = np.asarray(offsets, float)

        def sparsities(level):
            return 1.0 - np.clip(np.exp(level + offsets), _LEAST_KEPT, 1.0)

        def excess(level):
            return self.excess(sparsities(level), bits)

        low, high = np.log(_LEAST_KEPT) - offsets.max(), -offsets.min()
        if excess(low) > 0.0:
            raise InfeasibleBudgetError("No level of these offsets fits the budget.", smallest={})
        level = high if excess(high) <= 0.0 else bisect(excess, low, high, xtol=1e-3) - 1e-3
        plans = [
            LayerPlan(info.name, fitting_sparsity(info, float(sparsity)), width)
            for info, sparsity, width in zip(self.infos, sparsities(level), bits, strict=True)
        ]
        return Policy.from_plans(plans, name=name, provenance={"device": self.device})

    def coordinates(self, policy):
        """Offsets and widths of another method's policy, to start a search from."""
        plans = policy.resolve(self.infos)
        kept = np.log([max(1.0 - plan.sparsity, _LEAST_KEPT) for plan in plans])
        offsets = np.clip(kept - np.median(kept), -_WIDEST, _WIDEST)
        return offsets, [plan.weight_bits for plan in plans]

    def draw(self, generator):
        """Random offsets and widths."""
        count = len(self.infos)
        return generator.normal(size=count), [int(b) for b in generator.choice(BITS, count)]


def random_policy(space, seed):
    """The first random policy that fits."""
    generator = np.random.default_rng([seed, 1])
    for _ in range(100):
        try:
            return space.policy(*space.draw(generator), "random")
        except InfeasibleBudgetError as error:
            last = error
    raise last


def random_search(space, evaluate, num_evaluations, seed):
    """The best of some random policies.

    Args:
        space: The policies.
        evaluate: Maps a policy to a loss.
        num_evaluations: How many.
        seed: Seed of the draws.

    Returns:
        Offsets and widths.
    """
    generator = np.random.default_rng([seed, 2])
    found = []
    for _ in range(20 * num_evaluations):
        if len(found) == num_evaluations:
            break
        drawn = space.draw(generator)
        try:
            policy = space.policy(*drawn, "random search")
        except InfeasibleBudgetError as error:
            last = error
            continue
        found.append((evaluate(policy), len(found), drawn))
    if not found:
        raise last
    return min(found)[2]


def optuna_search(space, evaluate, num_evaluations, seed, starts):
    """The best that Optuna's TPE finds; it begins with the policies of `starts`.

    Args:
        space: The policies.
        evaluate: Maps a policy to a loss.
        num_evaluations: How many.
        seed: Seed of the sampler.
        starts: Policies of other methods, among the evaluations.

    Returns:
        Offsets and widths.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    count = len(space.infos)

    def read(trial):
        offsets = [trial.suggest_float(f"offset_{i}", -_WIDEST, _WIDEST) for i in range(count)]
        return offsets, [trial.suggest_categorical(f"bits_{i}", BITS) for i in range(count)]

    for policy in starts:
        offsets, bits = space.coordinates(policy)
        study.enqueue_trial(
            {f"offset_{i}": float(value) for i, value in enumerate(offsets)}
            | {f"bits_{i}": width for i, width in enumerate(bits)}
        )

    def objective(trial):
        try:
            return evaluate(space.policy(*read(trial), "Optuna"))
        except InfeasibleBudgetError as error:
            raise optuna.TrialPruned(str(error)) from error

    study.optimize(objective, n_trials=num_evaluations)
    best = study.best_params
    return [best[f"offset_{i}"] for i in range(count)], [best[f"bits_{i}"] for i in range(count)]
