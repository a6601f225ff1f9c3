"""Static quantisation: ranges measured beforehand, each operator in the numbers chosen for it."""

from collections.abc import Mapping
from typing import Any

from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.litert_noise import known_noise_held_back
from tf_metacompress.deploy.modes.float_border import add_float_border
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.deploy.modes.mode import CalibrationSamples, ModeOptions
from tf_metacompress.deploy.modes.op_formats import (
    Border,
    OpFormat,
    make_quantizer,
    with_packed_weights,
)
from tf_metacompress.deploy.modes.signature_names import with_names_of
from tf_metacompress.deploy.modes.weight_ranges import weight_ranges, without_empty_ranges
from tf_metacompress.errors import UnsupportedModelError

SIGNATURE_KEY = "serving_default"


def quantize_static(
    data: bytes,
    samples: CalibrationSamples,
    options: ModeOptions,
    formats: Mapping[str, OpFormat],
    border: Border,
) -> bytes:
    """Quantises a file operator by operator.

    A weight w of an integer operator becomes round(w / s), with s = max|w| / 127 of its channel, or
    the slightly larger s at which the levels of its grid are whole numbers; a zero stays zero.
    Kernels of `options.packed_ops` that 4 bits hold without loss are packed two to a byte.

    Args:
        data: Bytes of a float32 .tflite file with a signature.
        samples: Inputs that show the ranges of the activations.
        options: What the user chose; `options.ranges` takes the place of measured ranges.
        formats: Key of an operator to its format; others stay in float32.
        border: Formats of the file's inputs and outputs.

    Returns:
        Bytes of the quantised file.

    Raises:
        UnsupportedModelError: If nothing in the model can be computed in integers.
    """
    file = read_flatfile(data)
    chosen = with_packed_weights(file.main, formats, options.packed_ops)
    bits = {key: found.weight_bits for key, found in chosen.items()}
    with known_noise_held_back():
        quantizer = make_quantizer(file, chosen, border)
        ranges = _ranges(data, samples, quantizer) if quantizer.need_calibration else {}
        # Copied, as the quantizer writes fixed ranges, such as that of TANH, into what it is given.
        known = {name: dict(found) for name, found in options.ranges.items()}
        ranges |= {name: found for name, found in known.items() if name in ranges}
        for graph in file.subgraphs:
            ranges |= weight_ranges(graph, ranges, bits)
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    quantized = with_names_of(with_inner_buffers(bytes(result.quantized_model)), file)
    return add_float_border(quantized) if options.io_dtype == "float32" else quantized


def _ranges(data: bytes, samples: CalibrationSamples, quantizer: Quantizer) -> dict[str, Any]:
    """Measures the range of every activation: smallest and largest value over all samples.

    The quantizer's own default is a moving average, which depends on the order of the samples.
    """
    recipe = RecipeManager()
    recipe.load_quantization_recipe(quantizer.get_quantization_recipe())
    calibrator = Calibrator(
        data,
        num_threads=1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    calibrator.calibrate({SIGNATURE_KEY: list(samples)}, recipe)
    ranges = calibrator.get_model_qsvs()
    if not ranges:
        raise UnsupportedModelError("No operator of the model has an integer kernel.")
    return without_empty_ranges(ranges)
