"""Learning what to do to each layer: Φ, its adaptation, and its meta-training."""

from tf_metacompress.meta.adaptation import Adaptation
from tf_metacompress.meta.compressor import MetaCompressor
from tf_metacompress.meta.explanation import (
    BudgetChange,
    Explanation,
    LayerExplanation,
    Option,
    ResourceUse,
)
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.meta.learners import (
    ANIL,
    MAML,
    FirstOrderMAML,
    MAMLOptions,
    MetaCurvature,
    MetaLearner,
    MetaScore,
    MetaSGD,
    Reptile,
)
from tf_metacompress.meta.meta_training import MetaTraining, Outer, TrainingState
from tf_metacompress.meta.outer_loop import MetaState, meta_gradient

__all__ = [
    "ANIL",
    "MAML",
    "Adaptation",
    "BudgetChange",
    "Explanation",
    "FirstOrderMAML",
    "InnerLoop",
    "LayerExplanation",
    "MAMLOptions",
    "MetaCompressor",
    "MetaCurvature",
    "MetaLearner",
    "MetaSGD",
    "MetaScore",
    "MetaState",
    "MetaTraining",
    "Outer",
    "Option",
    "Reptile",
    "ResourceUse",
    "TrainingState",
    "meta_gradient",
]
