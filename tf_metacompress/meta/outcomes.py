"""What became of a model under many policies: measured, for Φ to learn from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_metacompress.atomic import PathLike, atomic_path
from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.support_reading import SupportReading
from tf_metacompress.meta.trials import Trial

_SPREADS = (0.2, 0.5, 1.0)
_OF_BITS, _OF_SPARSITY = 0.7, 0.2
_LEAST = 1e-9
_TINY = 1e-3
_NUM_FIXED = 3
_ARRAYS = ("features", "prior", "informed", "losses")
_SHARES = (1.0, 1.0, 0.3)
"""How much prior, sensitivity and curvature have in a mixture, of Dirichlet's distribution."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Losses that a model was left with, under K policies on L layers.

    Attributes:
        features: What Φ reads of the action chosen on each layer, float32 (K, L, features).
        prior: Its prior damage by the weights, float32 (K, L).
        informed: Its prior damage with the support set, float32 (K, L).
        losses: Loss left after a short fine-tuning, float32 (K,).
    """

    features: np.ndarray
    prior: np.ndarray
    informed: np.ndarray
    losses: np.ndarray

    @property
    def informative(self) -> bool:
        """Whether any policy is better than another."""
        finite = self.losses[np.isfinite(self.losses)]
        return finite.size > 1 and float(np.ptp(finite)) > _TINY


def save_outcomes(path: PathLike, found: list[Outcomes]) -> None:
    """Writes the outcomes of a model's tasks to one .npz file, whole or not at all.

    Args:
        path: File to write.
        found: One a task.
    """
    arrays = {
        f"{name}_{index}": array
        for index, outcomes in enumerate(found)
        for name, array in vars(outcomes).items()
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, count=len(found), **arrays)


def load_outcomes(path: PathLike) -> list[Outcomes]:
    """Reads what `save_outcomes` wrote.

    Args:
        path: The file.

    Returns:
        One a task.
    """
    with np.load(Path(path), allow_pickle=False) as file:
        return [
            Outcomes(**{name: file[f"{name}_{i}"] for name in _ARRAYS})
            for i in range(int(file["count"]))
        ]


def sample_damages(
    prior: np.ndarray,
    told: SupportReading,
    actions: np.ndarray,
    count: int,
    generator: np.random.Generator,
) -> list[np.ndarray]:
    """Draws tables of damages: prior, sensitivity, their geometric mean, random ones around them.

    A random one mixes both, and often the curvature, at random rates and multiplies each layer, the
    narrowest width and the logarithm of what is kept by log-normal factors, as a correction of Φ
    would.

    Args:
        prior: Prior damage, shape (layers, actions).
        told: What the support set tells.
        actions: Sparsity and weight bits of each action, shape (actions, 2).
        count: How many, at least 3.
        generator: Where they are drawn from.

    Returns:
        Float64 arrays (layers, actions).
    """
    logs = [np.log(damage + _LEAST) for damage in (prior, told.measured, told.curvature)]
    kept = np.log(1.0 - actions[:, 0])
    narrow = actions[:, 1] == actions[:, 1].min()
    tables = [prior, told.measured, np.sqrt(prior * told.measured)]
    for _ in range(count - _NUM_FIXED):
        shares = generator.dirichlet(_SHARES)
        table = sum(share * log for share, log in zip(shares, logs, strict=True))
        table = table + generator.normal(size=(len(prior), 1)) * generator.choice(_SPREADS)
        table = table + _OF_BITS * generator.normal() * narrow
        tables.append(np.exp(table + _OF_SPARSITY * generator.normal() * kept))
    return tables[:count]


def measure_outcomes(prepared: PreparedTask, trial: Trial, count: int, seed: int) -> Outcomes:
    """Fine-tunes a task's model briefly under several policies within its budget.

    Args:
        prepared: The task.
        trial: Of any task on the same model and data, so that tasks share what it has compiled.
        count: Policies.
        seed: Seed of the policies.

    Returns:
        What came of each.
    """
    problem, generator = prepared.problem, np.random.default_rng(seed)
    actions = np.array([(a.sparsity, a.weight_bits) for a in problem.table.actions])
    tables = sample_damages(prepared.blind.prior, prepared.told, actions, count, generator)
    choices = np.stack([problem.allocate(table).choice for table in tables])
    losses = [trial.loss(trial.run(trial.begin(choice), trial.num_steps)) for choice in choices]
    rows = np.arange(choices.shape[1])
    return Outcomes(
        features=problem.features[rows, choices].astype(np.float32),
        prior=prepared.blind.prior[rows, choices].astype(np.float32),
        informed=problem.prior[rows, choices].astype(np.float32),
        losses=np.array(losses, np.float32),
    )
