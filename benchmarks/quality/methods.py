"""The methods: each makes a policy for a case from the same model, budget, device and data."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from tf_metacompress import MetaCompressor, Task, baselines
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import DeviceProfile

from .cases import DEVICES
from .search import BITS, Space, optuna_search, random_policy, random_search
from .trial import ShortTrial

ADAPTED, ZERO_SHOT, INFORMED = "Φ adapted", "Φ zero-shot", "Φ zero-shot, reads data"
WITH_MAML = "Φ zero-shot, reads data, with MAML"
UNTRAINED, UNTRAINED_BLIND = "untrained Φ, reads data", "untrained Φ"
FOREIGN = "Φ zero-shot, reads data, made for the other device"
SEARCHES = ("Optuna TPE", "random search")
INNER_STEPS = 5
NUM_PROPOSALS = 5


@dataclass
class Setup:
    """What a method may use.

    Attributes:
        model: The trained model.
        profile: The device.
        support: 512 training examples.
        query: 512 validation examples.
        seed: Seed of draws.
        evaluations: Short trials of a search.
        phi: File of Φ; None for the one that ships with the package, or an untrained one.
        with_maml: File of a Φ meta-trained further by MAML, or None.
    """

    model: object
    profile: DeviceProfile
    support: tuple
    query: tuple
    seed: int
    evaluations: int
    phi: Path | None = None
    with_maml: Path | None = None

    @cached_property
    def trial(self):
        """The short trial, compiled once for all methods."""
        return ShortTrial(self.model, self.support, self.query)


@dataclass(frozen=True)
class Proposal:
    """A policy, how many evaluations it took, and how to make it for a smaller budget."""

    policy: object
    evaluations: int
    again: object
    compiled_trial: bool = False
    notes: dict = field(default_factory=dict)


def load_phi(path):
    """Φ of a file; without one the shipped Φ, or an untrained one where none ships."""
    if path is not None:
        return MetaCompressor.load(path)
    shipped = getattr(MetaCompressor, "pretrained", None)
    return shipped() if shipped is not None else MetaCompressor()


def phi_identity(path):
    """Short hash of Φ's file, or of the weights of the one used without a file."""
    if path is not None:
        data = Path(path).read_bytes()
    else:
        data = b"".join(np.asarray(tensor).tobytes() for tensor in load_phi(None).phi)
    return hashlib.sha256(data).hexdigest()[:12]


def _best_bits(rule, setup, budget):
    found, last = {}, None
    for bits in BITS:
        try:
            found[bits] = rule(setup.model, budget, setup.profile, weight_bits=bits)
        except InfeasibleBudgetError as error:
            last = error
    if not found:
        raise last
    tried = len({str(policy.rules) for policy in found.values()}) > 1
    losses = {bits: setup.trial(policy) if tried else 0.0 for bits, policy in found.items()}
    best = min(losses, key=losses.get)
    return Proposal(
        found[best],
        len(found) if tried else 0,
        lambda smaller: rule(setup.model, smaller, setup.profile, weight_bits=best),
        compiled_trial=tried,
    )


def _sensitivity(measure, setup, budget):
    def make(limit):
        return baselines.sensitivity(
            setup.model, limit, setup.profile, support=setup.support, measure=measure
        )

    return Proposal(make(budget), 0, make)


def _random(setup, budget):
    def make(limit):
        return random_policy(Space(setup.model, limit, setup.profile), setup.seed)

    return Proposal(make(budget), 0, make)


def _from_search(search, name, setup, budget):
    before = setup.trial.count
    space = Space(setup.model, budget, setup.profile)
    found = search(space)

    def again(smaller):
        return Space(setup.model, smaller, setup.profile).policy(*found, name)

    used = setup.trial.count - before
    return Proposal(space.policy(*found, name), used, again, compiled_trial=True)


def _random_search(setup, budget):
    def search(space):
        return random_search(space, setup.trial, setup.evaluations, setup.seed)

    return _from_search(search, SEARCHES[1], setup, budget)


def _optuna(setup, budget):
    starts = []
    for bits in BITS:
        try:
            starts.append(baselines.lamp(setup.model, budget, setup.profile, weight_bits=bits))
        except InfeasibleBudgetError as error:
            print(f"Optuna starts without LAMP + {bits} bits: {error}", flush=True)

    def search(space):
        return optuna_search(space, setup.trial, setup.evaluations, setup.seed, starts)

    return _from_search(search, SEARCHES[0], setup, budget)


def _zero_shot(make_phi, reads_data, setup, budget):
    def make(limit):
        compressor = make_phi(setup)
        support = setup.support if reads_data else None
        return compressor.propose(setup.model, limit, setup.profile, support=support)

    return Proposal(make(budget), 0, make)


def _adapted(setup, budget):
    def make(limit):
        task = Task(setup.model, limit, setup.profile, support=setup.support, query=setup.query)
        return load_phi(setup.phi).adapt(task, INNER_STEPS).policy

    policy = make(budget)
    chosen = {"chosen": policy.provenance["chosen"]}
    return Proposal(policy, NUM_PROPOSALS, make, notes=chosen)


def _foreign(setup, budget):
    """Φ's policy for the other device: widths that this one lacks widened, then scaled to fit."""
    other = next(p for name, p in DEVICES.items() if name != setup.profile.name)
    policy = load_phi(setup.phi).propose(setup.model, budget, other, support=setup.support)
    space = Space(setup.model, budget, setup.profile)
    plans = policy.resolve(space.infos)
    bits = [space.allowed(layer, plan.weight_bits) for layer, plan in enumerate(plans)]
    used = 1.0 + space.excess([plan.sparsity for plan in plans], bits)

    def make(limit):
        there = Space(setup.model, limit, setup.profile)
        return there.policy(*there.coordinates(policy), FOREIGN)

    return Proposal(make(budget), 0, make, notes={"budget_used_as_it_was": used})


METHODS = {
    "uniform": partial(_best_bits, baselines.uniform),
    "ERK": partial(_best_bits, baselines.erk),
    "global magnitude": partial(_best_bits, baselines.global_magnitude),
    "LAMP": partial(_best_bits, baselines.lamp),
    "sensitivity, measured": partial(_sensitivity, "loss"),
    "sensitivity, Hessian": partial(_sensitivity, "hessian"),
    ZERO_SHOT: partial(_zero_shot, lambda setup: load_phi(setup.phi), False),
    UNTRAINED_BLIND: partial(_zero_shot, lambda setup: MetaCompressor(), False),
    UNTRAINED: partial(_zero_shot, lambda setup: MetaCompressor(), True),
    INFORMED: partial(_zero_shot, lambda setup: load_phi(setup.phi), True),
    ADAPTED: _adapted,
    WITH_MAML: partial(_zero_shot, lambda setup: load_phi(setup.with_maml), True),
    FOREIGN: _foreign,
    "random policy": _random,
    SEARCHES[1]: _random_search,
    SEARCHES[0]: _optuna,
}
ON_A_QUARTER = ("sensitivity, Hessian", "random policy", *SEARCHES)


def methods_of(case, plan, with_maml, foreign):
    """Names of the methods that a case is measured with.

    Args:
        case: The case.
        plan: How much of everything.
        with_maml: Whether there is a Φ meta-trained further by MAML.
        foreign: Whether policies made for the other device are measured too.

    Returns:
        Names in the order of `METHODS`.
    """
    return [
        name
        for name in METHODS
        if (case.searched or name not in ON_A_QUARTER)
        and (name in plan.methods or not plan.methods)
        and (with_maml or name != WITH_MAML)
        and (foreign or name != FOREIGN)
    ]
