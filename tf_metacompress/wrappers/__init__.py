"""Keras layers with state: masks, ranges, and the model that trains with them."""

from tf_metacompress.wrappers.activation_range import ActivationRange
from tf_metacompress.wrappers.channel_pruner import ChannelPruner, pruners_of
from tf_metacompress.wrappers.compressed_model import CompressedModel, Compressor, is_compressed
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
    "is_compressed",
    "pruners_of",
]
