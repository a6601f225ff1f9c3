"""Adapting Φ to one task: a few gradient steps, then the proposal that recovers best."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tf_metacompress.errors import NonFiniteLossError, check_int
from tf_metacompress.meta.inner_loop import Groups, InnerLoop, Tensors, adapt
from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.policy_origin import budget_provenance
from tf_metacompress.meta.trials import halving_losses
from tf_metacompress.policy import Policy
from tf_metacompress.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What adapting to one task gave.

    Attributes:
        policy: The policy of the adapted Φ.
        losses: Support loss of the relaxed model before each inner step.
        trials: Loss left after a short fine-tuning under each proposal that came through the first
            half of it; the least was taken.
        compressor: The adapted compressor.
    """

    policy: Policy
    losses: tuple[float, ...]
    trials: Mapping[str, float]
    compressor: Any


def descend_on_support(
    prepared: PreparedTask, loop: InnerLoop, phi: Tensors, inner_steps: int
) -> tuple[Groups, tuple[float, ...]]:
    """Takes inner steps on the support set, eagerly: compiling takes longer than a few steps do.

    Args:
        prepared: The task.
        loop: How long the steps are.
        phi: Weights of Φ.
        inner_steps: How many.

    Returns:
        Φ and the model's weights after the last step, and the loss before each.

    Raises:
        NonFiniteLossError: When the loss is not finite.
    """
    x, y = prepared.inner_support()
    one = replace(loop, inner_steps=1, first_order=True)

    groups, losses = (tuple(phi), prepared.theta), []
    for number in range(inner_steps):
        groups, values = adapt(one, prepared.loss, groups, x, y)
        losses.append(float(values[0]))
        if not np.isfinite(losses[-1]):
            raise NonFiniteLossError(
                "The loss on the support set must stay finite. "
                f"Received: loss={losses[-1]} at inner step {number}. Lower inner_lr.",
                meta_step=number,
                task=None,
            )
    return groups, tuple(losses)


def choose_by_trial(
    prepared: PreparedTask, damages: Mapping[str, np.ndarray], *, quiet: bool = True
) -> tuple[str, dict[str, float]]:
    """Tries the proposal of each table of damages by a short fine-tuning, in successive halving.

    Args:
        prepared: The task.
        damages: Name to predicted damage, shape (layers, actions).
        quiet: Without progress bars.

    Returns:
        Name of the one that leaves the least loss, and the loss of each in the better half.

    Raises:
        NonFiniteLossError: When no proposal leaves a finite loss.
    """
    choices = {name: prepared.problem.allocate(damage).choice for name, damage in damages.items()}
    trials = halving_losses(prepared, choices, quiet=quiet)
    finite = {name: loss for name, loss in trials.items() if np.isfinite(loss)}
    if not finite:
        raise NonFiniteLossError(
            "Fine-tuning under one of the proposals must leave a finite loss. "
            f"Received: losses={trials}. Check the scale of inputs and labels.",
            meta_step=0,
            task=None,
        )
    return min(finite, key=finite.get), trials


def proposals(prepared: PreparedTask, adapted: Any) -> dict[str, np.ndarray]:
    """Lists the five tables of damages that adapting chooses among.

    Args:
        prepared: The task.
        adapted: The compressor after its steps.

    Returns:
        Name to damage, float64 (layers, actions): of the adapted Φ, alone and with the curvature of
        the loss (their geometric mean); of what Φ corrects, the prior with the support set; of the
        prior by the weights, whose proposal is LAMP's with bits of its own; and of the rise of the
        loss when one layer alone is compressed.
    """
    problem, told = prepared.problem, prepared.told
    own = adapted.predict_damage(problem.features, problem.prior)
    return {
        "adapted": own,
        "adapted with curvature": np.sqrt(own * told.curvature),
        "prior with sensitivity": problem.prior,
        "prior": prepared.blind.prior,
        "sensitivity": told.measured,
    }


def adapt_to_task(compressor: Any, task: Task, inner_steps: int, *, quiet: bool) -> Adaptation:
    """Does what `MetaCompressor.adapt` says.

    Args:
        compressor: Whose Φ to start from; it is not changed.
        task: Model, budget, device and data.
        inner_steps: Gradient steps, at least 1.
        quiet: Without progress bars.

    Returns:
        The policy, the losses on the way, the trials, and the adapted compressor.
    """
    check_int("inner_steps", inner_steps, minimum=1)
    loop = compressor.inner_loop
    prepared = compressor.compiler(first_order=True).prepare(task, quiet=quiet)
    groups, losses = descend_on_support(prepared, loop, compressor.phi, inner_steps)
    adapted = compressor.with_phi(groups[0])
    problem = prepared.problem
    damages = proposals(prepared, adapted)
    best, trials = choose_by_trial(prepared, damages, quiet=quiet)
    policy = problem.policy(
        damages[best],
        "phi-adapted",
        meta_steps=compressor.meta_steps,
        inner_steps=inner_steps,
        chosen=best,
        **budget_provenance(task.budget),
    )
    return Adaptation(policy=policy, losses=losses, trials=trials, compressor=adapted)
