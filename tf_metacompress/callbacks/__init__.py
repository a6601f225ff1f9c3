"""Keras callbacks: pruning along a schedule, sparsity in the logs, and the whole compression."""

from tf_metacompress.callbacks.meta_compress import MetaCompress
from tf_metacompress.callbacks.pruning_schedule import PruningSchedule
from tf_metacompress.callbacks.sparsity_logger import SparsityLogger
from tf_metacompress.wrappers import FreezeRanges

__all__ = ["FreezeRanges", "MetaCompress", "PruningSchedule", "SparsityLogger"]
