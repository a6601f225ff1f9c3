"""Channels removed for real: a smaller plain Keras model."""

from tf_metacompress.surgery.functional import as_functional
from tf_metacompress.surgery.remove import remove_channels
from tf_metacompress.surgery.report import GroupRemoval, RemovalReport
from tf_metacompress.surgery.training import make_channel_pruners, remove_silenced

__all__ = [
    "GroupRemoval",
    "RemovalReport",
    "as_functional",
    "make_channel_pruners",
    "remove_channels",
    "remove_silenced",
]
