"""How well a meta-learner adapts to tasks it has not seen."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from scipy import stats

from tf_metacompress.meta.learners.algorithm import Algorithm
from tf_metacompress.meta.learners.batches import episode
from tf_metacompress.meta.learners.episode import Episode, accuracy
from tf_metacompress.tasks import TaskSampler

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class MetaScore:
    """Query loss and accuracy after adaptation, over many tasks.

    Attributes:
        losses: Of each task.
        accuracies: Of each task, in [0, 1]; NaN where labels are not class indices.
    """

    losses: np.ndarray
    accuracies: np.ndarray

    @property
    def num_tasks(self) -> int:
        """Tasks evaluated."""
        return len(self.losses)

    @property
    def loss(self) -> float:
        """Mean query loss."""
        return float(np.mean(self.losses))

    @property
    def accuracy(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def loss_interval(self) -> float:
        """Half the width of the 95 % interval of the mean loss."""
        return half_width(self.losses)

    @property
    def accuracy_interval(self) -> float:
        """Half the width of the 95 % interval of the mean accuracy."""
        return half_width(self.accuracies)

    def __str__(self) -> str:
        """Shows the means with their intervals."""
        text = f"loss {self.loss:.4f} ± {self.loss_interval:.4f}"
        if np.isfinite(self.accuracy):
            text = f"accuracy {self.accuracy:.4f} ± {self.accuracy_interval:.4f}, {text}"
        return f"{text} over {self.num_tasks} tasks"


def half_width(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of a mean, by Student's t.

    Args:
        values: At least two.

    Returns:
        In the unit of the values.
    """
    quantile = stats.t.ppf(0.5 + _CONFIDENCE / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))


def evaluate(
    learner: Algorithm, sampler: TaskSampler, num_tasks: int, inner_steps: int
) -> MetaScore:
    """Adapts to each task and judges on its query set.

    Args:
        learner: Whose weights to adapt.
        sampler: Gives the tasks.
        num_tasks: How many to take.
        inner_steps: Gradient steps of an adaptation.

    Returns:
        Loss and accuracy of each task.
    """
    judge = learner.traced(("judge", inner_steps), lambda: _judge(learner, inner_steps))
    found = []
    for index in range(num_tasks):
        found.append([value.numpy() for value in judge(episode(sampler, index, learner.network))])
    losses, accuracies = np.array(found, np.float64).T
    return MetaScore(losses=losses, accuracies=accuracies)


def _judge(learner: Algorithm, inner_steps: int) -> tf.types.experimental.PolymorphicFunction:
    loss = learner.compiled.loss

    @tf.function
    def judge(drawn: Episode) -> tuple[tf.Tensor, tf.Tensor]:
        start, extras = learner.read()
        weights = learner.adapted(loss, start, extras, drawn, inner_steps)
        value, outputs = loss.query(weights, drawn)
        return value, accuracy(drawn.query_y, outputs)

    return judge
