"""Static int8: integer weights and activations, with packed 4-bit weights where wanted."""

from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.op_formats import INT8_FORMAT, Border, uniform_formats
from tf_metacompress.deploy.modes.static import quantize_static


def quantize_int8(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Quantises weights per channel and activations per tensor, both to integers.

    Loops, such as those of an LSTM, compute in float32 with int8 weights; all around is int8. With
    `io_dtype="float32"` the file takes and gives real numbers and converts them at its border.

    Args:
        data: Bytes of a float32 .tflite file with a signature.
        samples: Inputs that show the ranges of the activations.
        options: The chosen `io_dtype`, what to pack, and ranges known from training.

    Returns:
        Bytes of the int8 file.

    Raises:
        UnsupportedModelError: If nothing in the model can be computed in int8.
    """
    formats = uniform_formats(read_flatfile(data), INT8_FORMAT)
    border = Border(inputs=INT8_FORMAT, outputs=INT8_FORMAT)
    return quantize_static(data, samples, options, formats, border)


INT8 = register_mode(
    # On probabilities near 0 or 1 an error of e means that e²/2 of the answers are others: 3 %.
    # Measured on sound files: 0.01 to 0.09 (digits, DS-CNN, ResNet-8); on collapsed ones: about 1.
    Mode(
        name="int8",
        quantize=quantize_int8,
        tolerance=0.25,
        needs_data=True,
        io_dtypes=("float32", "int8"),
    )
)
