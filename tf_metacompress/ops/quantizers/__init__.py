"""Values that quantised weights can take, one file each."""

from tf_metacompress.ops.quantizers import affine, codebook, log2, short_scale, symmetric
from tf_metacompress.ops.quantizers.affine import fake_quantize_affine_weights, quantize_affine
from tf_metacompress.ops.quantizers.clipping import range_clip
from tf_metacompress.ops.quantizers.codebook import fake_quantize_codebook, make_codebook
from tf_metacompress.ops.quantizers.log2 import fake_quantize_log2, quantize_log2
from tf_metacompress.ops.quantizers.registry import (
    Grid,
    Quantizer,
    get_quantizer,
    register_quantizer,
)
from tf_metacompress.ops.quantizers.short_scale import fake_quantize_short_scale
from tf_metacompress.ops.quantizers.symmetric import fake_quantize_clipped

for _module in (symmetric, affine, log2, codebook, short_scale):
    register_quantizer(_module.QUANTIZER)

__all__ = [
    "Grid",
    "Quantizer",
    "fake_quantize_affine_weights",
    "fake_quantize_clipped",
    "fake_quantize_codebook",
    "fake_quantize_log2",
    "fake_quantize_short_scale",
    "get_quantizer",
    "make_codebook",
    "quantize_affine",
    "quantize_log2",
    "range_clip",
    "register_quantizer",
]
