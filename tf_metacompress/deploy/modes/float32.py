"""The file as converted: nothing is quantised."""

from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)


def keep_float32(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Returns the float32 file as it is."""
    return data


FLOAT32 = register_mode(
    # Only the order of summation differs from Keras. Measured: 1e-7 to 5e-6.
    Mode(name="float32", quantize=keep_float32, tolerance=1e-4)
)
