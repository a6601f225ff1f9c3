"""What makes the policies: heuristics, the exact allocation of measured damage, Φ."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from tf_metacompress import Budget, MetaCompressor, Task, baselines
from tf_metacompress.policy import action_grid

NUM_SUPPORT = 512
DEVICE = "cortex-m"
_WIDE_ACTIONS = action_grid(weight_bits=(2, 3, 4, 6, 8))


@dataclass(frozen=True)
class Given:
    """What a method may look at.

    Attributes:
        model: The trained model, its channels removed already.
        budget: What the file may weigh after gzip.
        support: Training examples.
        query: Other training examples.
    """

    model: object
    budget: Budget
    support: tuple
    query: tuple


def given(model, size_bytes, train, seed):
    """Draws what a method may look at from the training examples."""
    x, y = train
    rows = np.random.default_rng(seed).permutation(len(y))
    half = min(NUM_SUPPORT, len(y) // 2)
    parts = ((x[part], y[part]) for part in (rows[:half], rows[half : 2 * half]))
    return Given(model, Budget(size_bytes=size_bytes), *parts)


def _heuristic(rule, bits, case):
    return rule(case.model, case.budget, DEVICE, weight_bits=bits)


def _sensitivity(actions, case):
    return baselines.sensitivity(
        case.model, case.budget, DEVICE, support=case.support, actions=actions
    )


def _zero_shot(case):
    return MetaCompressor.pretrained().propose(case.model, case.budget, DEVICE)


def _adapted(case):
    task = Task(case.model, case.budget, DEVICE, support=case.support, query=case.query)
    return MetaCompressor.pretrained().adapt(task).policy


def _prior(case):
    return MetaCompressor(actions=_WIDE_ACTIONS).propose(case.model, case.budget, DEVICE)


def _untrained(options, case):
    return MetaCompressor(**options).propose(case.model, case.budget, DEVICE, support=case.support)


METHODS = {
    "uniform, 8 bits": partial(_heuristic, baselines.uniform, 8),
    "uniform, 4 bits": partial(_heuristic, baselines.uniform, 4),
    "uniform, 3 bits": partial(_heuristic, baselines.uniform, 3),
    "LAMP, 4 bits": partial(_heuristic, baselines.lamp, 4),
    "LAMP, 3 bits": partial(_heuristic, baselines.lamp, 3),
    "sensitivity, 4 and 8 bits": partial(_sensitivity, None),
    "sensitivity, 2 to 8 bits": partial(_sensitivity, _WIDE_ACTIONS),
    "prior of Φ, 2 to 8 bits": _prior,
    "untrained Φ, reads data": partial(_untrained, {}),
    "untrained Φ, reads data, 2 to 8 bits": partial(_untrained, {"actions": _WIDE_ACTIONS}),
    "Φ zero-shot": _zero_shot,
    "Φ adapted": _adapted,
}
