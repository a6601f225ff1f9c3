"""Keras callbacks: pruning by a schedule, a teacher, sparsity in the logs, all of compression."""

from tf_metacompress.callbacks.distillation import Distillation
from tf_metacompress.callbacks.meta_compress import MetaCompress
from tf_metacompress.callbacks.pruning_schedule import PruningSchedule
from tf_metacompress.callbacks.sparsity_logger import SparsityLogger
from tf_metacompress.wrappers import FreezeRanges

__all__ = ["Distillation", "FreezeRanges", "MetaCompress", "PruningSchedule", "SparsityLogger"]
