"""Meta-learners: weights that adapt to a new task from a few examples, compressed or not."""

from tf_metacompress.meta.learners.anil import ANIL
from tf_metacompress.meta.learners.evaluation import MetaScore
from tf_metacompress.meta.learners.first_order_maml import FirstOrderMAML
from tf_metacompress.meta.learners.learner import MetaLearner
from tf_metacompress.meta.learners.maml import MAML, MAMLOptions
from tf_metacompress.meta.learners.meta_curvature import MetaCurvature
from tf_metacompress.meta.learners.meta_sgd import MetaSGD
from tf_metacompress.meta.learners.reptile import Reptile

__all__ = [
    "ANIL",
    "MAML",
    "FirstOrderMAML",
    "MAMLOptions",
    "MetaCurvature",
    "MetaLearner",
    "MetaSGD",
    "MetaScore",
    "Reptile",
]
