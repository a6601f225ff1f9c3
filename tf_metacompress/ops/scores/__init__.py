"""What decides which weights are removed, one file each."""

from tf_metacompress.ops.scores import activation, magnitude, random, taylor
from tf_metacompress.ops.scores.activation import zero_share
from tf_metacompress.ops.scores.registry import Score, ScoreInputs, get_score, register_score
from tf_metacompress.ops.scores.taylor import taylor_saliency

for _module in (magnitude, taylor, activation, random):
    register_score(_module.SCORE)

__all__ = ["Score", "ScoreInputs", "get_score", "register_score", "taylor_saliency", "zero_share"]
