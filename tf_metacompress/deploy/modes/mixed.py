"""Mixed precision: each operator in the numbers that the policy chose for its layer."""

from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.op_formats import INT8_FORMAT, Border
from tf_metacompress.deploy.modes.static import quantize_static


def quantize_mixed(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Quantises each operator as `options.formats` says, with conversions where two formats meet.

    Args:
        data: Bytes of a float32 .tflite file with a signature.
        samples: Inputs that show the ranges of the activations.
        options: The formats, and ranges known from training.

    Returns:
        Bytes of the file; it takes and gives real numbers.

    Raises:
        UnsupportedModelError: If an integer format was chosen and no operator can have it.
    """
    # The outputs are asked for in int8 and widened at the border: see `float_border`.
    integer = any(chosen.is_integer for chosen in options.formats.values())
    border = Border(outputs=INT8_FORMAT if integer else None)
    return quantize_static(data, samples, options, options.formats, border)


MIXED = register_mode(
    # As for int8, which any of its operators may be.
    Mode(
        name="mixed",
        quantize=quantize_mixed,
        tolerance=0.25,
        needs_data=True,
        needs_plans=True,
    )
)
