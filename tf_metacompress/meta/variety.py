"""How tasks are varied in meta-training, so that heads differ and missing features are known."""

from collections.abc import Iterable

import numpy as np

from tf_metacompress.meta.learner import PreparedTask


def bootstrap_weights(seed: int, task: int, num_heads: int) -> np.ndarray:
    """Draws how much each head learns from one task: a bootstrap sample of tasks for each head.

    A head sees a task as often as a sample with replacement would hold it, a Poisson number, so
    that heads agree where many tasks say the same and differ elsewhere.

    Paper: Oza 2005, "Online bagging and boosting"; Osband et al. 2016, arXiv:1602.04621.

    Args:
        seed: Seed of the meta-training.
        task: Index of the task.
        num_heads: Heads of Φ.

    Returns:
        Whole numbers, float64 of shape (heads,), not all zero; the same for the same arguments.
    """
    generator = np.random.default_rng((seed, task))
    weights = generator.poisson(1.0, num_heads).astype(np.float64)
    if not weights.any():
        weights[generator.integers(num_heads)] = 1.0
    return weights


def varied_tasks(
    prepared: Iterable[PreparedTask], seed: int, num_heads: int
) -> list[tuple[PreparedTask, ...]]:
    """Makes each task as the heads that learn from it see it.

    Args:
        prepared: The tasks.
        seed: Seed of the meta-training.
        num_heads: Heads of Φ.

    Returns:
        Of each task the forms without and with features of its support set: `propose` has no data,
        `adapt` has.
    """
    forms = []
    for index, task in enumerate(prepared):
        head_weights = bootstrap_weights(seed, index, num_heads)
        forms.append(tuple(task.varied(head_weights, known) for known in (False, True)))
    return forms
