"""How well Φ does on tasks of models that it does not learn from, while it learns."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.trials import Trial
from tf_metacompress.tasks import Task

_LEVEL = 1e-3
"""Losses closer than this count as equal."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Φ zero-shot beside what it corrects, on tasks that were not learned from.

    Attributes:
        meta_step: Steps that Φ had taken.
        num_tasks: How many tasks.
        phi_loss: Mean loss after a short fine-tuning under the choice of Φ from the weights alone.
        informed_loss: The same under its choice with the support set.
        prior_loss: The same under the prior's choice.
        sensitivity_loss: The same under the choice of the measured sensitivity.
        better: Share of tasks on which the loss of Φ with the support set is below the prior's.
        worse: Share on which it is above.
    """

    meta_step: int
    num_tasks: int
    phi_loss: float
    informed_loss: float
    prior_loss: float
    sensitivity_loss: float
    better: float
    worse: float


class Validation:
    """Compares Φ zero-shot with prior and sensitivity, by what a short fine-tuning recovers.

    Args:
        compressor: Any compressor with the actions of the one to be judged.
        tasks: Tasks that it does not learn from.
    """

    def __init__(self, compressor: MetaCompressor, tasks: Sequence[Task]) -> None:
        compiler = compressor.compiler()
        prepared = [compiler.prepare(task) for task in tasks]
        self._judges = [_Judge(task, Trial(task)) for task in prepared]

    def measure(self, compressor: MetaCompressor) -> Verdict:
        """Judges a compressor.

        Args:
            compressor: The compressor.

        Returns:
            Mean losses over the tasks, and how often Φ beats the prior.
        """
        rows = [judge.losses(compressor) for judge in self._judges]
        phi, informed, prior, sensitivity = np.array(rows).T
        return Verdict(
            meta_step=compressor.meta_steps,
            num_tasks=len(rows),
            phi_loss=float(phi.mean()),
            informed_loss=float(informed.mean()),
            prior_loss=float(prior.mean()),
            sensitivity_loss=float(sensitivity.mean()),
            better=float(np.mean(informed < prior - _LEVEL)),
            worse=float(np.mean(informed > prior + _LEVEL)),
        )


@dataclass(frozen=True)
class _Judge:
    """A task, and the loss of each choice that was tried on it."""

    task: PreparedTask
    trial: Trial
    known: dict[tuple[int, ...], float] = field(default_factory=dict)

    def losses(self, compressor: MetaCompressor) -> list[float]:
        blind, told = self.task.blind, self.task.told
        forms = (blind, self.task.problem)
        predicted = [compressor.predict_damage(form.features, form.prior) for form in forms]
        return [self._loss(damage) for damage in (*predicted, blind.prior, told.measured)]

    def _loss(self, damage: np.ndarray) -> float:
        choice = self.task.problem.allocate(damage).choice
        key = tuple(int(index) for index in choice)
        if key not in self.known:
            state = self.trial.run(self.trial.begin(choice), self.trial.num_steps)
            self.known[key] = self.trial.loss(state)
        return self.known[key]
