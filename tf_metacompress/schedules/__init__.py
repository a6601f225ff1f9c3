"""When pruning advances during training, and how far.

A schedule maps a training step to `(should_update, fraction)`: whether the masks are renewed at
this step, and the share of each layer's target sparsity reached, in [0, 1]. Update steps are those
of tensorflow-model-optimization, and the end step besides, so that the target is always reached.
"""

from tf_metacompress.schedules.constant import ConstantSparsity
from tf_metacompress.schedules.iterative import IterativeSparsity
from tf_metacompress.schedules.one_shot import OneShotSparsity
from tf_metacompress.schedules.polynomial import PolynomialSparsity
from tf_metacompress.schedules.steps import NO_END, SparsitySchedule
from tf_metacompress.schedules.tfmot import TfmotSparsity, as_schedule, from_tfmot

__all__ = [
    "NO_END",
    "ConstantSparsity",
    "IterativeSparsity",
    "OneShotSparsity",
    "PolynomialSparsity",
    "SparsitySchedule",
    "TfmotSparsity",
    "as_schedule",
    "from_tfmot",
]
