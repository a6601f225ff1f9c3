"""Weights stored in float16 and widened to float32 when the runtime loads them."""

from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tf_metacompress.deploy.litert_noise import known_noise_held_back
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)


def store_float16(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Stores the weights of a float32 file in float16; arithmetic stays float32."""
    quantizer = Quantizer(data)
    quantizer.add_weight_only_config(
        ".*", TFLOperationName.ALL_SUPPORTED, 16, algorithm_key=AlgorithmName.FLOAT_CASTING
    )
    with known_noise_held_back():
        result = quantizer.quantize(enable_progress_report=False)
    return with_inner_buffers(bytes(result.quantized_model))


FLOAT16 = register_mode(
    # A weight is rounded by at most 2^-11 = 5e-4 of itself. Measured: 0.0005 (DS-CNN), 0.0017
    # (ResNet-8), 0.018 after the 52 layers of MobileNetV2.
    Mode(name="float16", quantize=store_float16, tolerance=0.05)
)
