"""Policies that need no learning: from the weights alone, or from one batch of data."""

from tf_metacompress.baselines.sensitivity import sensitivity
from tf_metacompress.baselines.spread import erk, global_magnitude, lamp, uniform

__all__ = ["erk", "global_magnitude", "lamp", "sensitivity", "uniform"]
