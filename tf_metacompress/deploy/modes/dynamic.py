"""Weights stored in int8 per channel; activations quantised while the model runs."""

from typing import Any

from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.litert_noise import known_noise_held_back
from tf_metacompress.deploy.modes.inner_buffers import repacked
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.op_formats import op_key
from tf_metacompress.deploy.modes.weight_ranges import weight_ranges

_BITS = 8


def quantize_dynamic(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Stores the weights of a float32 file in int8; ranges of activations are found on the fly."""
    quantizer = Quantizer(data)
    quantizer.add_dynamic_config(".*", TFLOperationName.ALL_SUPPORTED, _BITS)
    ranges: dict[str, Any] = {}
    for graph in read_flatfile(data).subgraphs:
        ranges |= weight_ranges(graph, {}, {op_key(op, graph): _BITS for op in graph.ops})
    with known_noise_held_back():
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return repacked(bytes(result.quantized_model))


DYNAMIC = register_mode(
    # As for int8: both compute with 8-bit weights and activations.
    Mode(name="dynamic", quantize=quantize_dynamic, tolerance=0.25)
)
