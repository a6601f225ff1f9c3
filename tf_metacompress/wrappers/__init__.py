"""Keras layers with state: masks, ranges, and the model that trains with them."""

from tf_metacompress.wrappers.activation_range import ActivationRange
from tf_metacompress.wrappers.channel_pruner import ChannelPruner, pruners_of
from tf_metacompress.wrappers.compressed_model import CompressedModel, Compressor, is_compressed
from tf_metacompress.wrappers.fused_batch_norm import fuse_batch_norms, restore_batch_norms
from tf_metacompress.wrappers.layer_compressor import LayerCompressor, compressor_of
from tf_metacompress.wrappers.range_freeze import FreezeRanges
from tf_metacompress.wrappers.statistics import ZeroShare

__all__ = [
    "ActivationRange",
    "ChannelPruner",
    "CompressedModel",
    "Compressor",
    "FreezeRanges",
    "LayerCompressor",
    "ZeroShare",
    "compressor_of",
    "fuse_batch_norms",
    "is_compressed",
    "pruners_of",
    "restore_batch_norms",
]
