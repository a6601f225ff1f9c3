"""The loss of a relaxed compressed model, as a function of Φ and of the model's weights."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.meta import damage_network
from tf_metacompress.meta.inner_loop import Groups
from tf_metacompress.meta.problem import Problem
from tf_metacompress.meta.relaxed_model import (
    ActionIndex,
    KernelSlot,
    index_actions,
    kernel_slots,
    levels_of,
    soft_masks,
    substitute_kernels,
)
from tf_metacompress.meta.task_examples import resolve_loss
from tf_metacompress.ops import relaxed_choice
from tf_metacompress.tasks import Task
from tf_metacompress.wrappers import fuse_batch_norms, restore_batch_norms

Weights = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]


@dataclass(frozen=True)
class TaskTensors:
    """What differs between tasks on one architecture; passed to a compiled step as arguments.

    Attributes:
        features: Shape (layers, actions, features).
        prior: Shape (layers, actions).
        cost: Shape (layers, actions), as a share of the room in the budget.
        mask: Boolean, shape (layers, actions).
        levels: Levels of each kernel.
        others: The model's non-trainable weights.
        head_weights: Say of each head of Φ, shape (heads,), or (1,) for equal ones.
    """

    features: tf.Tensor
    prior: tf.Tensor
    cost: tf.Tensor
    mask: tf.Tensor
    levels: tuple[tf.Tensor, ...]
    others: tuple[tf.Tensor, ...]
    head_weights: tf.Tensor

    def flat(self) -> tuple:
        """The fields as a nested tuple of tensors."""
        return tuple(getattr(self, entry.name) for entry in dataclasses.fields(self))

    def reading(self, problem: Problem) -> "TaskTensors":
        """Gives the same with what Φ reads of another form of the task."""
        dtype = self.prior.dtype
        read = tf.constant(problem.features, dtype), tf.constant(problem.prior, dtype)
        return dataclasses.replace(self, features=read[0], prior=read[1])


def task_tensors(
    model: keras.Model, problem: Problem, index: ActionIndex, dtype: str = "float32"
) -> TaskTensors:
    """Turns a problem into tensors.

    Args:
        model: The task's model.
        problem: The task read into arrays.
        index: The actions.
        dtype: Floating dtype of the result.

    Returns:
        The tensors.
    """
    return TaskTensors(
        features=tf.constant(problem.features, dtype),
        prior=tf.constant(problem.prior, dtype),
        cost=tf.constant(problem.relaxed_cost(), dtype),
        mask=tf.constant(problem.table.mask),
        levels=tuple(tf.constant(a) for a in levels_of(problem.kernels, problem.infos, index)),
        others=tuple(tf.convert_to_tensor(v) for v in model.non_trainable_variables),
        head_weights=tf.ones([1], dtype),
    )


@dataclass(frozen=True)
class RelaxedLoss:
    """Loss of the model under Φ's relaxed choice.

    Attributes:
        model: Any model of the architecture; only its structure is used.
        slots: Where its kernels are.
        index: The actions.
        loss: Maps labels and predictions to a scalar.
        temperature: Softness of the choice.
    """

    model: keras.Model
    slots: tuple[KernelSlot, ...]
    index: ActionIndex
    loss: Callable[[Any, Any], tf.Tensor]
    temperature: float

    def choice(self, phi: Sequence[tf.Tensor], tensors: TaskTensors) -> tf.Tensor:
        """Relaxed choice of Φ, shape (layers, actions)."""
        damage = damage_network.mean_damage(
            tuple(phi), tensors.features, tensors.prior, tensors.head_weights
        )
        return relaxed_choice(damage, tensors.cost, 1.0, self.temperature, tensors.mask)

    def __call__(
        self, groups: Groups, tensors: TaskTensors, x: tf.Tensor, y: tf.Tensor
    ) -> tf.Tensor:
        """Computes the loss at Φ's weights and the model's trainable weights.

        Args:
            groups: Φ's weights, and the model's trainable weights.
            tensors: The task.
            x: Inputs.
            y: Labels.

        Returns:
            Scalar.
        """
        phi, theta = groups
        masks = self.masks(self.choice(phi, tensors), tensors)
        return self.after_training(masks, (theta, tensors.others), x, y)

    def masks(self, probabilities: tf.Tensor, tensors: TaskTensors) -> tuple[tf.Tensor, ...]:
        """Soft mask of each kernel under a choice, shape (layers, actions); 0 or 1 of a policy."""
        return soft_masks(probabilities, self.slots, tensors.levels, self.index)

    def after_training(
        self, masks: Sequence[tf.Tensor], weights: Weights, x: tf.Tensor, y: tf.Tensor
    ) -> tf.Tensor:
        """Computes the loss under a given choice at all weights of the model, as `evaluate` does.

        Args:
            masks: Of the choice, from `masks`.
            weights: The model's trainable and other weights.
            x: Inputs.
            y: Labels.

        Returns:
            Scalar.
        """
        return self._at(substitute_kernels(weights, masks, self.slots, self.index), x, y)

    def in_training(
        self, masks: Sequence[tf.Tensor], weights: Weights, x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Computes the loss under a given choice as `fit` does, on the statistics of the batch.

        Its second derivative is not to be trusted: see `check_second_order`.

        Args:
            masks: Of the choice, from `masks`.
            weights: The model's trainable and other weights.
            x: Inputs.
            y: Labels.

        Returns:
            Scalar, and what the other weights have become.
        """
        theta, others = substitute_kernels(weights, masks, self.slots, self.index)
        fused = fuse_batch_norms(self.model)
        try:
            predictions, changed = self.model.stateless_call(theta, others, x, training=True)
        finally:
            restore_batch_norms(fused)
        changed = list(changed)
        for slot in self.slots:
            if not slot.trainable:
                changed[slot.index] = weights[1][slot.index]
        return self.loss(y, predictions), tuple(changed)

    def at_kernels(
        self,
        kernels: Sequence[tf.Tensor],
        weights: Weights,
        x: tf.Tensor,
        y: tf.Tensor,
    ) -> tf.Tensor:
        """Computes the loss of the model with given kernels, none of them compressed.

        Args:
            kernels: In the order of `slots`.
            weights: The model's trainable and other weights.
            x: Inputs.
            y: Labels.

        Returns:
            Scalar.
        """
        trainable, others = map(list, weights)
        for slot, kernel in zip(self.slots, kernels, strict=True):
            target = trainable if slot.trainable else others
            target[slot.index] = kernel
        return self._at((trainable, others), x, y)

    def _at(self, weights: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        predictions, _ = self.model.stateless_call(*weights, x, training=False)
        return self.loss(y, predictions)


def relaxed_loss(task: Task, problem: Problem, temperature: float) -> RelaxedLoss:
    """Builds the relaxed loss of a task.

    Args:
        task: The task.
        problem: The task read into arrays.
        temperature: Softness of the choice.

    Returns:
        The loss.
    """
    return RelaxedLoss(
        model=task.model,
        slots=kernel_slots(task.model, problem.infos),
        index=index_actions(problem.table.actions),
        loss=resolve_loss(task),
        temperature=temperature,
    )
