"""Structures in which weights are removed, one file each."""

from tf_metacompress.ops.patterns import block, channel, n_of_m, unstructured
from tf_metacompress.ops.patterns.registry import (
    MaskRequest,
    pattern_mask,
    patterns,
    register_pattern,
)
from tf_metacompress.ops.patterns.threshold import threshold_mask

for _module in (unstructured, n_of_m, block, channel):
    register_pattern(_module.KIND, _module.mask)

__all__ = ["MaskRequest", "pattern_mask", "patterns", "register_pattern", "threshold_mask"]
