"""How well Φ does on tasks of models that it does not learn from, while it learns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.learner import PreparedTask, TaskCompiler
from tf_metacompress.meta.trials import recovery_losses
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
        self._prepared = [compiler.prepare(task) for task in tasks]
        self._known: list[dict[tuple[int, ...], float]] = [{} for _ in tasks]

    def measure(self, compressor: MetaCompressor) -> Verdict:
        """Judges a compressor.

        Args:
            compressor: The compressor.

        Returns:
            Mean losses over the tasks, and how often Φ beats the prior.
        """
        pairs = []
        for task, known in zip(self._prepared, self._known, strict=True):
            problem = task.problem
            damage = compressor.predict_damage(problem.features, problem.prior)
            choices = {
                "phi": problem.allocate(damage).choice,
                "prior": problem.allocate(problem.prior).choice,
            }
            pairs.append([_losses(task, choices, known)[name] for name in ("phi", "prior")])
        phi, prior = np.array(pairs).T
        return Verdict(
            meta_step=compressor.meta_steps,
            phi_loss=float(phi.mean()),
            prior_loss=float(prior.mean()),
            better=float(np.mean(phi < prior - _LEVEL)),
            worse=float(np.mean(phi > prior + _LEVEL)),
        )


def _losses(
    task: PreparedTask, choices: Mapping[str, np.ndarray], known: dict[tuple[int, ...], float]
) -> dict[str, float]:
    """Loss of each choice; what was tried before is not tried again."""
    keys = {name: tuple(int(index) for index in choice) for name, choice in choices.items()}
    new = {name: choices[name] for name, key in keys.items() if key not in known}
    if new:
        known.update({keys[name]: loss for name, loss in recovery_losses(task, new).items()})
    return {name: known[key] for name, key in keys.items()}
