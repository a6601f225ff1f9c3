"""How well Φ does on tasks of models that it does not learn from, while it learns."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.features import without_support
from tf_metacompress.meta.learner import PreparedTask, TaskCompiler
from tf_metacompress.meta.trials import NUM_STEPS, Trial
from tf_metacompress.tasks import Task

_LEVEL = 1e-3
"""Losses closer than this count as equal."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Φ zero-shot beside the prior, on tasks that were not learned from.

    Attributes:
        meta_step: Steps that Φ had taken.
        phi_loss: Mean loss after a short fine-tuning under Φ's choice.
        prior_loss: The same under the prior's choice.
        better: Share of tasks on which Φ's loss is lower.
        worse: Share on which it is higher.
    """

    meta_step: int
    phi_loss: float
    prior_loss: float
    better: float
    worse: float


class Validation:
    """Compares Φ zero-shot with the prior, by what a short fine-tuning recovers.

    Args:
        compressor: Any compressor with the actions of the one to be judged.
        tasks: Tasks that it does not learn from.
    """

    def __init__(self, compressor: MetaCompressor, tasks: Sequence[Task]) -> None:
        compiler = TaskCompiler(compressor.actions, compressor.temperature, compressor.inner_loop)
        prepared = [compiler.prepare(task) for task in tasks]
        self._judges = [_Judge(task, Trial(task)) for task in prepared]

    def measure(self, compressor: MetaCompressor) -> Verdict:
        """Judges a compressor.

        Args:
            compressor: The compressor.

        Returns:
            Mean losses over the tasks, and how often Φ beats the prior.
        """
        pairs = []
        for judge in self._judges:
            problem = judge.task.problem
            damage = compressor.predict_damage(without_support(problem.features), problem.prior)
            pairs.append((judge.loss(damage), judge.loss(problem.prior)))
        phi, prior = np.array(pairs).T
        return Verdict(
            meta_step=compressor.meta_steps,
            phi_loss=float(phi.mean()),
            prior_loss=float(prior.mean()),
            better=float(np.mean(phi < prior - _LEVEL)),
            worse=float(np.mean(phi > prior + _LEVEL)),
        )


@dataclass(frozen=True)
class _Judge:
    """A task, and the loss of each choice that was tried on it."""

    task: PreparedTask
    trial: Trial
    known: dict[tuple[int, ...], float] = field(default_factory=dict)

    def loss(self, damage: np.ndarray) -> float:
        choice = self.task.problem.allocate(damage).choice
        key = tuple(int(index) for index in choice)
        if key not in self.known:
            state = self.trial.run(self.trial.begin(choice), NUM_STEPS)
            self.known[key] = self.trial.loss(state)
        return self.known[key]
