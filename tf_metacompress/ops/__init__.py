"""Pure tensor functions: masks, quantisers and the relaxed choice, all twice differentiable."""

from tf_metacompress.ops.folding import folding_gain
from tf_metacompress.ops.masks import magnitude_scores, masked_sparsity, top_k_mask
from tf_metacompress.ops.quantization import (
    NUM_BITS,
    fake_quantize_affine,
    fake_quantize_symmetric,
    fake_quantize_weights,
    quantize_symmetric,
    symmetric_scale,
)
from tf_metacompress.ops.relaxation import expected_cost, relaxed_choice, solve_multiplier
from tf_metacompress.ops.straight_through import straight_through

__all__ = [
    "NUM_BITS",
    "expected_cost",
    "fake_quantize_affine",
    "fake_quantize_symmetric",
    "fake_quantize_weights",
    "folding_gain",
    "magnitude_scores",
    "masked_sparsity",
    "quantize_symmetric",
    "relaxed_choice",
    "solve_multiplier",
    "straight_through",
    "symmetric_scale",
    "top_k_mask",
]
