"""What a support set tells of a model's layers, before anything is tried on the whole of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_metacompress.baselines.layer_damage import LARGEST_RISE, Bench, measured_damage

_FEWEST_EXAMPLES, _NUM_EXAMPLES = 16, 128
_FEWEST_ANCHORS, _MOST_ANCHORS = 2, 4
_MOST_PASSES, _MOST_MACS = 240, 6e10
"""Of all passes that measure the sensitivity: seconds of one core."""
_SMALLEST_SHARE = 1e-4


@dataclass(frozen=True, kw_only=True)
class SupportReading:
    """Damage of each action as a support set sees it; float64 (layers, actions).

    Attributes:
        curvature: Share of the model's Fisher mass that the action loses.
        measured: Rise of the loss when the action is taken on one layer alone, as a share of the
            largest rise, at least 1e-4: a smaller one cannot be told from none.
    """

    curvature: np.ndarray
    measured: np.ndarray

    def informed(self, prior: np.ndarray) -> np.ndarray:
        """Joins the prior of the weights with what was measured: their geometric mean.

        The weights cannot tell that a whole layer hardly matters, as in squeeze-and-excite; a
        measurement of one layer alone cannot tell how damages add up.

        Args:
            prior: Prior damage by the weights, shape (layers, actions).

        Returns:
            Prior damage of the same shape and the same mean.
        """
        joint = np.sqrt(prior * self.measured)
        total = float(joint.sum())
        return joint * (float(prior.sum()) / total) if total > 0.0 else prior


def read_support(prepared: Any, *, quiet: bool = True) -> SupportReading:
    """Reads the support set of a task.

    Args:
        prepared: A `PreparedTask`.
        quiet: Without progress bars.

    Returns:
        The reading; it depends on the task's model and support set alone.
    """
    return SupportReading(
        curvature=prepared.fisher_damage(), measured=_sensitivity(prepared, quiet)
    )


def _sensitivity(prepared: Any, quiet: bool) -> np.ndarray:
    """At fewer sparsities of a deep model and on fewer examples of a large one: time is bounded."""
    problem = prepared.problem
    widths = {action.weight_bits for action in problem.table.actions}
    curves = len(problem.infos) * len(widths)
    anchors = min(max(_MOST_PASSES // curves, _FEWEST_ANCHORS), _MOST_ANCHORS)
    fitting = _MOST_MACS / (curves * anchors)
    count = problem.num_examples(fitting, _FEWEST_EXAMPLES, _NUM_EXAMPLES)
    examples = prepared.some_support(count)
    bench = Bench(
        prepared.task.model, problem.infos, examples, prepared.relaxed.loss, problem.kernels
    )
    rise = measured_damage(bench, problem.table.actions, anchors, problem.prior, quiet=quiet)
    return _shares(rise)


def _shares(rise: np.ndarray) -> np.ndarray:
    """Of the largest rise that is a number; what destroys the model counts as that."""
    largest = float(rise.max(initial=0.0, where=rise < LARGEST_RISE))
    return np.clip(rise / (largest if largest > 0.0 else 1.0), _SMALLEST_SHARE, 1.0)
