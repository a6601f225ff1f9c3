"""Weights stored in int8 per channel; activations quantised while the model runs."""

from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)


def quantize_dynamic(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Stores the weights of a float32 file in int8; ranges of activations are found on the fly."""
    quantizer = Quantizer(data)
    quantizer.add_dynamic_config(".*", TFLOperationName.ALL_SUPPORTED, 8)
    return bytes(quantizer.quantize(enable_progress_report=False).quantized_model)


DYNAMIC = register_mode(
    # 8 bits cost each layer about 1 % of its output; a tenth is far above a sound file's sum.
    Mode(name="dynamic", quantize=quantize_dynamic, tolerance=0.1)
)
