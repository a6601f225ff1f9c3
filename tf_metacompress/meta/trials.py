"""Short trials: which of several policies does a model recover from best?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tf_metacompress.meta.kernel_row import in_a_row, taken_apart
from tf_metacompress.meta.learner import PreparedTask
from tf_metacompress.meta.moving_statistics import momenta, without_start
from tf_metacompress.progress import progress

NUM_STEPS = 80
BATCH_SIZE, _SMALLEST_BATCH = 64, 16
_MOST_MACS = 2e8
"""Of one batch; larger models get smaller batches and half of the steps: seconds for a trial."""
_LEARNING_RATE = 2e-3
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-7

Tensors = tuple[tf.Tensor, ...]
AdamState = tuple[Tensors, Tensors, Tensors, tf.Tensor]


def adam_state(weights: Sequence[tf.Tensor]) -> AdamState:
    """Weights, both moments of their gradients, and the number of steps taken."""
    zeros = tuple(tf.zeros_like(weight) for weight in weights)
    return tuple(weights), zeros, zeros, tf.zeros([], weights[0].dtype)


def adam_step(
    state: AdamState, gradients: Sequence[tf.Tensor], learning_rate: float | tf.Tensor
) -> AdamState:
    """Takes a step of Adam as Keras does it, as a pure function, so that it compiles.

    Paper: Kingma, Ba 2015, arXiv:1412.6980.

    Args:
        state: From `adam_state`, or an earlier step.
        gradients: One a weight.
        learning_rate: Length of the step.

    Returns:
        The next state.
    """
    weights, means, squares, count = state
    count = count + 1
    rate = learning_rate * tf.sqrt(1 - _SECOND**count) / (1 - _FIRST**count)
    means = [m + (1 - _FIRST) * (g - m) for m, g in zip(means, gradients, strict=True)]
    squares = [v + (1 - _SECOND) * (g * g - v) for v, g in zip(squares, gradients, strict=True)]
    moved = [
        w - rate * m / (tf.sqrt(v) + _EPSILON)
        for w, m, v in zip(weights, means, squares, strict=True)
    ]
    return tuple(moved), tuple(means), tuple(squares), count


def falling_rate(step: float | tf.Tensor, num_steps: int) -> float | tf.Tensor:
    """Learning rate of a step of a trial: falls linearly to zero."""
    return _LEARNING_RATE * (1.0 - step / num_steps)


@dataclass(frozen=True)
class TrialState:
    """How far the short fine-tuning under one choice has come.

    Attributes:
        masks: Of the choice.
        adam: All trainable weights of the model in a row, and the state of their optimizer.
        others: The model's other weights.
        num_steps: Steps taken.
    """

    masks: tf.Tensor
    adam: AdamState
    others: Tensors
    num_steps: int = 0


class Trial:
    """Short fine-tuning of a task's model under a choice of actions.

    Steps are those of a training: Adam on batches of the support set, 64 examples or fewer of a
    large model, BatchNormalization on the statistics of the batch, the learning rate falling to
    zero, without which the last batches decide which of two policies looks better. The loss is
    judged on the query set; a task without one has its support set split in two. The task's model
    is not changed.

    Args:
        prepared: The task; the trial serves every task on the same model and data.
        num_steps: Steps until the learning rate is zero; None for 80, 40 of a large model.
        seed: Seed of the batches; all choices see the same ones.

    Attributes:
        num_steps: The same as a number.
    """

    def __init__(self, prepared: PreparedTask, num_steps: int | None = None, seed: int = 0) -> None:
        self.prepared = prepared
        self._support, self._query = prepared.halves()
        self._momenta = momenta(prepared.task.model)
        self._seed = seed
        fitting = prepared.problem.num_examples(_MOST_MACS, _SMALLEST_BATCH, BATCH_SIZE)
        self._batch_size = min(fitting, len(self._support[0]))
        self.num_steps = num_steps or (NUM_STEPS if fitting == BATCH_SIZE else NUM_STEPS // 2)
        self._step = tf.function(self._eager_step, reduce_retracing=True)

    def _eager_step(
        self,
        state: tuple[tf.Tensor, AdamState, Tensors],
        x: tf.Tensor,
        y: tf.Tensor,
        rate: tf.Tensor,
    ) -> tuple[AdamState, Tensors]:
        masks, adam, others = state
        (row,) = adam[0]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(row)
            weights = self._weights(row), others
            loss, others = self.prepared.relaxed.in_training(masks, weights, x, y)
        return adam_step(adam, [tape.gradient(loss, row)], rate), others

    def _weights(self, row: tf.Tensor) -> Tensors:
        """The trainable weights: Adam moves them in a row, by a tenth of the operations."""
        return taken_apart(row, [weight.shape for weight in self.prepared.theta])

    def begin(self, choice: np.ndarray) -> TrialState:
        """Starts from the task's model.

        Args:
            choice: One action a layer, int array (layers,).

        Returns:
            The state before the first step.
        """
        prepared = self.prepared
        num_actions = len(prepared.problem.table.actions)
        one_hot = tf.one_hot(choice, num_actions, dtype=prepared.theta[0].dtype)
        masks = prepared.relaxed.masks(one_hot, prepared.tensors)
        return TrialState(masks, adam_state([in_a_row(prepared.theta)]), prepared.tensors.others)

    def run(self, state: TrialState, num_steps: int) -> TrialState:
        """Takes steps.

        Args:
            state: Where to go on from.
            num_steps: How many.

        Returns:
            The state after them.
        """
        x, y = self._support
        adam, others = state.adam, state.others
        for step in range(state.num_steps, state.num_steps + num_steps):
            rows = np.random.default_rng([self._seed, step]).permutation(len(x))[: self._batch_size]
            rate = falling_rate(min(step, self.num_steps), self.num_steps)
            rate = tf.constant(rate, self.prepared.theta[0].dtype)
            batch = tf.gather(x, rows), tf.gather(y, rows)
            adam, others = self._step((state.masks, adam, others), *batch, rate)
        return replace(state, adam=adam, others=others, num_steps=state.num_steps + num_steps)

    def weights(self, state: TrialState) -> tuple[Tensors, Tensors]:
        """Gives the trainable and the other weights that a state has reached.

        The latter are those that evaluating needs: free of what BatchNormalization began with.

        Args:
            state: From `begin` or `run`.

        Returns:
            Both, in the order of the model.
        """
        start = self.prepared.tensors.others
        others = without_start(start, state.others, self._momenta, state.num_steps)
        return self._weights(state.adam[0][0]), others

    def loss(self, state: TrialState) -> float:
        """Gives the loss left on the query set; eagerly, as it is asked for but a few times."""
        weights = self.weights(state)
        return float(self.prepared.relaxed.after_training(state.masks, weights, *self._query))


def _unlike(choices: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Maps each name to the first name with an equal choice."""
    first: dict[tuple[int, ...], str] = {}
    return {name: first.setdefault(tuple(map(int, choices[name])), name) for name in choices}


def recovery_losses(
    prepared: PreparedTask, choices: Mapping[str, np.ndarray], num_steps: int | None = None
) -> dict[str, float]:
    """Fine-tunes the model briefly under each choice and measures what loss is left.

    Args:
        prepared: The task.
        choices: Name to one action a layer, int array (layers,).
        num_steps: Steps of Adam; None for as many as `Trial` takes.

    Returns:
        Name to loss; equal choices are tried once.
    """
    return _losses(Trial(prepared, num_steps), choices, halves=False, quiet=True)


def halving_losses(
    prepared: PreparedTask,
    choices: Mapping[str, np.ndarray],
    num_steps: int | None = None,
    *,
    quiet: bool = True,
) -> dict[str, float]:
    """Tries choices by successive halving: half of the steps for all, the rest for the better half.

    Paper: Jamieson, Talwalkar 2016, arXiv:1502.07943.

    Args:
        prepared: The task.
        choices: Name to one action a layer, int array (layers,).
        num_steps: Steps of Adam that the better half takes in all; None as in `Trial`.
        quiet: Without progress bars.

    Returns:
        Name to loss, of the better half only, of all when none is finite; equal choices are tried
        once.
    """
    return _losses(Trial(prepared, num_steps), choices, halves=True, quiet=quiet)


def _losses(
    trial: Trial, choices: Mapping[str, np.ndarray], *, halves: bool, quiet: bool
) -> dict[str, float]:
    same_as, last = _unlike(choices), trial.num_steps
    first = max(last // 2, 1) if halves else last
    unlike = progress(sorted(set(same_as.values())), description="try proposals", quiet=quiet)
    states = {name: trial.run(trial.begin(choices[name]), first) for name in unlike}
    losses = {name: trial.loss(state) for name, state in states.items()}
    if last > first and len(losses) > 1:
        finite = [name for name in losses if np.isfinite(losses[name])]
        better = sorted(finite, key=losses.__getitem__)[: (len(losses) + 1) // 2]
        rest = progress(better, description="try the better half further", quiet=quiet)
        longer = {name: trial.loss(trial.run(states[name], last - first)) for name in rest}
        losses = longer or losses
    return {name: losses[other] for name, other in same_as.items() if other in losses}
