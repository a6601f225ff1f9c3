"""The loss of a relaxed compressed model, as a function of Φ and of the model's weights."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.meta import damage_network
from tf_metacompress.meta.inner_loop import Groups
from tf_metacompress.meta.kernel_row import KernelRow, Weights, kernel_slots
from tf_metacompress.meta.problem import Problem
from tf_metacompress.meta.relaxed_model import (
    ActionIndex,
    index_actions,
    mask_places,
    mix_kernels,
    soft_masks,
)
from tf_metacompress.ops import relaxed_choice
from tf_metacompress.wrappers import fuse_batch_norms, restore_batch_norms


@dataclass(frozen=True)
class TaskTensors:
    """What differs between tasks on one architecture; passed to a compiled step as arguments.

    Attributes:
        features: Shape (layers, actions, features).
        prior: Shape (layers, actions).
        cost: Shape (layers, actions), as a share of the room in the budget.
        mask: Boolean, shape (layers, actions).
        places: Of the share of each weight in its masks, shape (bits, weights).
        others: The model's non-trainable weights.
        head_weights: Say of each head of Φ, shape (heads,), or (1,) for equal ones.
    """

    features: tf.Tensor
    prior: tf.Tensor
    cost: tf.Tensor
    mask: tf.Tensor
    places: tf.Tensor
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
    model: keras.Model, problem: Problem, relaxed: "RelaxedLoss", dtype: str = "float32"
) -> TaskTensors:
    """Turns a problem into tensors.

    Args:
        model: The task's model.
        problem: The task read into arrays.
        relaxed: Relaxed loss of any task on the architecture.
        dtype: Floating dtype of the result.

    Returns:
        The tensors.
    """
    deployed = [kernel for info in problem.infos for kernel in problem.kernels[info.name]]
    return TaskTensors(
        features=tf.constant(problem.features, dtype),
        prior=tf.constant(problem.prior, dtype),
        cost=tf.constant(problem.relaxed_cost(), dtype),
        mask=tf.constant(problem.table.mask),
        places=tf.constant(mask_places(deployed, relaxed.row.layer_of.numpy(), relaxed.index)),
        others=tuple(tf.convert_to_tensor(v) for v in model.non_trainable_variables),
        head_weights=tf.ones([1], dtype),
    )


@dataclass(frozen=True)
class RelaxedLoss:
    """Loss of the model under Φ's relaxed choice.

    Attributes:
        model: Any model of the architecture; only its structure is used.
        row: Where its kernels are.
        index: The actions.
        loss: Maps labels and predictions to a scalar.
        temperature: Softness of the choice.
    """

    model: keras.Model
    row: KernelRow
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

    def masks(self, probabilities: tf.Tensor, tensors: TaskTensors) -> tf.Tensor:
        """Soft masks of all weights under a choice, shape (layers, actions); 0 or 1 of a policy."""
        return soft_masks(probabilities, tensors.places, self.index)

    def _mixed(self, masks: tf.Tensor, weights: Weights) -> Weights:
        mixed = mix_kernels(self.row.join(weights), masks, self.index, self.row)
        return self.row.replace(weights, self.row.split(mixed))

    def after_training(
        self, masks: tf.Tensor, weights: Weights, x: tf.Tensor, y: tf.Tensor
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
        return self._at(self._mixed(masks, weights), x, y)

    def in_training(
        self, masks: tf.Tensor, weights: Weights, x: tf.Tensor, y: tf.Tensor
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
        theta, others = self._mixed(masks, weights)
        fused = fuse_batch_norms(self.model)
        try:
            predictions, changed = self.model.stateless_call(theta, others, x, training=True)
        finally:
            restore_batch_norms(fused)
        changed = list(changed)
        for slot in self.row.slots:
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
            kernels: In the order of `row.slots`.
            weights: The model's trainable and other weights.
            x: Inputs.
            y: Labels.

        Returns:
            Scalar.
        """
        return self._at(self.row.replace(weights, kernels), x, y)

    def _at(self, weights: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        predictions, _ = self.model.stateless_call(*weights, x, training=False)
        return self.loss(y, predictions)


def relaxed_loss(
    model: keras.Model, problem: Problem, loss: Callable[[Any, Any], tf.Tensor], temperature: float
) -> RelaxedLoss:
    """Builds the relaxed loss of a task.

    Args:
        model: The task's model.
        problem: The task read into arrays.
        loss: Maps labels and predictions to a scalar.
        temperature: Softness of the choice.

    Returns:
        The loss.
    """
    return RelaxedLoss(
        model=model,
        row=KernelRow(kernel_slots(model, problem.infos)),
        index=index_actions(problem.table.actions),
        loss=loss,
        temperature=temperature,
    )
