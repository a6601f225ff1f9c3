"""Static quantisation with 16-bit activations: int8 weights, nearly the accuracy of float32."""

from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.op_formats import INT16_FORMAT, Border, uniform_formats
from tf_metacompress.deploy.modes.static import quantize_static


def quantize_int16x8(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Quantises weights per channel to int8 and activations per tensor to int16.

    Args:
        data: Bytes of a float32 .tflite file with a signature.
        samples: Inputs that show the ranges of the activations.
        options: Ranges known from training.

    Returns:
        Bytes of the file; it takes and gives real numbers.

    Raises:
        UnsupportedModelError: If nothing in the model can be computed in integers.
    """
    formats = uniform_formats(read_flatfile(data), INT16_FORMAT)
    border = Border(inputs=INT16_FORMAT, outputs=INT16_FORMAT)
    return quantize_static(data, samples, options, formats, border)


INT16X8 = register_mode(
    # The weights are rounded as in int8, the activations hardly.
    Mode(name="int16x8", quantize=quantize_int16x8, tolerance=0.25, needs_data=True)
)
