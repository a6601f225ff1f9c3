"""`MetaCompressor`: proposes policies, adapts to a task, learns from many."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int, check_positive
from tf_metacompress.meta import damage_network, phi_file, pretrained
from tf_metacompress.meta.adaptation import Adaptation, adapt_to_task
from tf_metacompress.meta.explain import explain
from tf_metacompress.meta.explanation import Explanation
from tf_metacompress.meta.features import NUM_FEATURES
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.meta.learning import LearnsFromTasks
from tf_metacompress.meta.narrowing import narrow_to_latency
from tf_metacompress.meta.policy_origin import budget_provenance
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.meta.problem_checks import check_actions
from tf_metacompress.meta.task_examples import check_task
from tf_metacompress.policy import Action, Budget, DeviceProfile, LatencyTable, Policy
from tf_metacompress.tasks import Task
from tf_metacompress.typing import ArrayPair


class MetaCompressor(LearnsFromTasks):
    """Φ and what it does: looks at a model, a budget and a device, and proposes a policy.

    Untrained it chooses by the prior (LAMP's scores and the rounding noise; with a support set also
    the measured sensitivity of each layer). `fit` meta-trains it
    over tasks, so that a few gradient steps of `adapt` find a policy the model recovers from.

    Args:
        hidden: Units of the hidden layers of Φ.
        num_heads: Networks in Φ, whose mean is the prediction and whose spread its uncertainty.
        actions: What may be done to a layer.
        inner_loop: How `adapt` and the inner loop of `fit` step.
        temperature: Softness of the relaxed choice; the prior's damages are of order one.
        seed: Seed of Φ's weights and of the batches drawn.

    Attributes:
        card: What a pretrained one was trained on, and what it reached; None of any other.

    Example:
        >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, name="head")])
        >>> policy = MetaCompressor().propose(model, Budget(size_ratio=0.9))
        >>> policy.name
        'phi'
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (32, 32),
        num_heads: int = 8,
        actions: Sequence[Action] = DEFAULT_ACTIONS,
        inner_loop: InnerLoop | None = None,
        temperature: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.hidden = tuple(check_int("hidden", units, minimum=1) for units in hidden)
        self.num_heads = check_int("num_heads", num_heads, minimum=1)
        self.actions = check_actions(actions)
        self.inner_loop = inner_loop or InnerLoop()
        self.temperature = check_positive("temperature", temperature)
        self.seed = check_int("seed", seed, minimum=0)
        self.phi = damage_network.init_heads(NUM_FEATURES, self.hidden, self.num_heads, self.seed)
        self.meta_steps = 0
        self.card: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Says how much it has learned."""
        return (
            f"MetaCompressor(hidden={self.hidden}, num_heads={self.num_heads}, "
            f"actions={len(self.actions)}, meta_steps={self.meta_steps})"
        )

    def predict_damage(self, features: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Predicts the damage of each action on each layer.

        Args:
            features: Shape (layers, actions, features).
            prior: Prior damage, shape (layers, actions).

        Returns:
            Float64 array (layers, actions).
        """
        return damage_network.predict(self.phi, features, prior)[0]

    def propose(
        self,
        model: keras.Model,
        budget: Budget,
        device: str | DeviceProfile = "android-arm64",
        *,
        support: ArrayPair | None = None,
        latency: LatencyTable | None = None,
        quiet: bool = False,
    ) -> Policy:
        """Proposes a policy without any training.

        Args:
            model: A built Keras 3 model. It is not changed.
            budget: What the compressed model may cost.
            device: Name of a device, or a profile.
            support: Inputs and labels, some hundred, on which the loss of the model tells how much
                each layer matters; None to judge by the weights alone, in seconds.
            latency: A `LatencyTable`, needed for a budget in milliseconds. Where no bits meet it,
                whole channels go (`pattern="channel"`), chosen by the prior.
            quiet: Without progress bars, which show on a terminal while a support set is read.

        Returns:
            The policy of least predicted damage within the budget.

        Raises:
            InfeasibleBudgetError: When no policy fits, with the smallest reachable.
            UnsupportedModelError: When the model has nothing to compress.
        """
        narrow = narrow_to_latency(model, budget, device, latency, self.actions)
        if narrow is not None:
            given = {"support": support, "latency": narrow.latency, "quiet": quiet}
            proposer = self._with_actions(narrow.actions)
            return narrow.policy(proposer._choose(narrow.model, narrow.budget, device, **given))
        given = {"support": support, "latency": latency, "quiet": quiet}
        return self._choose(model, budget, device, **given)

    def _choose(
        self,
        model: keras.Model,
        budget: Budget,
        device: str | DeviceProfile,
        *,
        support: ArrayPair | None,
        latency: LatencyTable | None,
        quiet: bool,
    ) -> Policy:
        if support is None:
            problem = make_problem(model, budget, device, actions=self.actions, latency=latency)
        else:
            task = Task(model, budget, device, support=support, latency=latency)
            problem = self.compiler(first_order=True).prepare(task, quiet=quiet).problem
        damage = self.predict_damage(problem.features, problem.prior)
        noted = budget_provenance(budget)
        return problem.policy(damage, "phi", meta_steps=self.meta_steps, **noted)

    def explain(
        self,
        model: keras.Model,
        policy: Policy,
        budget: Budget | None = None,
        device: str | DeviceProfile | None = None,
        *,
        latency: LatencyTable | None = None,
    ) -> Explanation:
        """Says of each layer what a policy does, what would be next best, and what drove it.

        Args:
            model: A built Keras 3 model. It is not changed.
            policy: A policy for it, made by Φ, by a baseline or by hand.
            budget: What the model may cost; None for what the policy notes, or else what it costs.
            device: Name or profile; None for what the policy notes, or else android-arm64.
            latency: Measured latencies, needed for a budget in milliseconds.

        Returns:
            Data that prints, with `to_json` and `plot`. Channels that the policy removes are gone
            before layers are judged; `notes` says which.

        Raises:
            InvalidArgumentError: If a rule of the policy fits no layer.
            UnsupportedModelError: When the model has nothing to compress.
        """
        return explain(self, model, policy, budget, device, latency)

    def adapt(self, task: Task, inner_steps: int = 5, *, quiet: bool = False) -> Adaptation:
        """Takes a few gradient steps on one task, then proposes.

        Five proposals (adapted Φ, alone and with curvature; the prior with the support set and by
        the weights; measured sensitivity) are tried by a few steps of fine-tuning, and the one that
        leaves the least loss is taken. Neither this compressor nor the task's model is changed.

        Args:
            task: Model, budget, device and data.
            inner_steps: Gradient steps, at least 1.
            quiet: Without progress bars, which show on a terminal.

        Returns:
            The policy, the losses on the way, the trials, and the adapted compressor.

        Raises:
            InvalidArgumentError: When no policy fits, the data does not fit the model, or the
                model's loss on them is not finite.
            NonFiniteLossError: When the loss becomes infinite or NaN on the way.
        """
        check_task(task)
        given = (task.model, task.budget, task.device, task.latency)
        narrow = narrow_to_latency(*given, self.actions)
        if narrow is None:
            return adapt_to_task(self, task, inner_steps, quiet=quiet)
        smaller = {"model": narrow.model, "budget": narrow.budget, "latency": narrow.latency}
        proposer = self._with_actions(narrow.actions)
        adaptation = adapt_to_task(proposer, replace(task, **smaller), inner_steps, quiet=quiet)
        return replace(
            adaptation,
            policy=narrow.policy(adaptation.policy),
            compressor=self.with_phi(adaptation.compressor.phi),
        )

    def _with_actions(self, actions: tuple[Action, ...]) -> "MetaCompressor":
        other = self.with_phi(self.phi)
        other.actions = actions
        return other

    def with_phi(self, phi: Sequence[tf.Tensor]) -> "MetaCompressor":
        """Gives a compressor like this one with other weights of Φ, and without a card."""
        other = MetaCompressor.__new__(MetaCompressor)
        vars(other).update(vars(self))
        other.phi, other.card = tuple(phi), None
        return other

    def save(self, path: str | Path) -> None:
        """Writes the compressor to one file, atomically.

        Args:
            path: File to write, such as "phi.npz".
        """
        config = phi_file.configuration(self)
        phi_file.save_phi(path, [tensor.numpy() for tensor in self.phi], config)

    @classmethod
    def load(cls, path: str | Path) -> "MetaCompressor":
        """Reads a compressor.

        Args:
            path: A file that `save` wrote.

        Returns:
            The compressor.

        Raises:
            CorruptFileError: When the file is damaged or of another version.
        """
        arrays, config = phi_file.load_phi(path)
        compressor = cls(**phi_file.constructor_arguments(config))
        compressor.phi = tuple(tf.constant(array) for array in arrays)
        compressor.meta_steps = config["meta_steps"]
        return compressor

    @classmethod
    def pretrained(cls) -> "MetaCompressor":
        """Reads the compressor that ships with the package; its `card` says what it learned.

        Returns:
            The compressor.

        Raises:
            CorruptFileError: When its file is missing, damaged or of another version.

        Example:
            >>> MetaCompressor.pretrained().card["size_bytes"] <= 500_000
            True
        """
        card = pretrained.read_card(pretrained.FOLDER)
        compressor = cls.load(pretrained.FOLDER / pretrained.PHI)
        compressor.card = card
        return compressor
