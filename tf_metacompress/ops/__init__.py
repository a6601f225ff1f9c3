"""Pure tensor functions: masks, quantisers and the relaxed choice, all twice differentiable."""

from tf_metacompress.ops.folding import folding_gain
from tf_metacompress.ops.masks import magnitude_scores, masked_sparsity, top_k_mask
from tf_metacompress.ops.patterns import (
    MaskRequest,
    pattern_mask,
    patterns,
    register_pattern,
    threshold_mask,
)
from tf_metacompress.ops.quantization import (
    NUM_BITS,
    fake_quantize_affine,
    fake_quantize_groups,
    fake_quantize_symmetric,
    fake_quantize_weights,
    quantize_symmetric,
    symmetric_scale,
)
from tf_metacompress.ops.quantizers import (
    Grid,
    Quantizer,
    fake_quantize_affine_weights,
    fake_quantize_clipped,
    fake_quantize_codebook,
    fake_quantize_log2,
    fake_quantize_short_scale,
    get_quantizer,
    make_codebook,
    quantize_affine,
    quantize_log2,
    range_clip,
    register_quantizer,
)
from tf_metacompress.ops.relaxation import expected_cost, relaxed_choice, solve_multiplier
from tf_metacompress.ops.scores import (
    Score,
    ScoreInputs,
    get_score,
    register_score,
    taylor_saliency,
    zero_share,
)
from tf_metacompress.ops.straight_through import straight_through, straight_through_within

__all__ = [
    "NUM_BITS",
    "Grid",
    "MaskRequest",
    "Quantizer",
    "Score",
    "ScoreInputs",
    "expected_cost",
    "fake_quantize_affine",
    "fake_quantize_affine_weights",
    "fake_quantize_clipped",
    "fake_quantize_codebook",
    "fake_quantize_groups",
    "fake_quantize_log2",
    "fake_quantize_short_scale",
    "fake_quantize_symmetric",
    "fake_quantize_weights",
    "folding_gain",
    "get_quantizer",
    "get_score",
    "magnitude_scores",
    "make_codebook",
    "masked_sparsity",
    "pattern_mask",
    "patterns",
    "quantize_affine",
    "quantize_log2",
    "quantize_symmetric",
    "range_clip",
    "register_pattern",
    "register_quantizer",
    "register_score",
    "relaxed_choice",
    "solve_multiplier",
    "straight_through",
    "straight_through_within",
    "symmetric_scale",
    "taylor_saliency",
    "threshold_mask",
    "top_k_mask",
    "zero_share",
]
