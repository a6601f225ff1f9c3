"""Static int8: integer weights and activations, with packed 4-bit weights where they run fast."""

import re
from collections.abc import Iterable
from typing import Any

from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from tf_metacompress.deploy.constants import stored_values
from tf_metacompress.deploy.flatfile import OpInfo, Subgraph
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.integer_grid import grid_bits
from tf_metacompress.deploy.litert_noise import known_noise_held_back
from tf_metacompress.deploy.modes.float_border import add_float_border
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    register_mode,
)
from tf_metacompress.deploy.modes.weight_ranges import weight_ranges, without_empty_ranges
from tf_metacompress.errors import UnsupportedModelError

SIGNATURE_KEY = "serving_default"
_WEIGHT_INPUT = 1
_PACKED_OPS = ("FULLY_CONNECTED",)
"""Operators for which the runtime has fast kernels with packed 4-bit weights."""

_PACKED_BITS = 4
_MANY_BITS = 32


def packed_ops(graph: Subgraph) -> tuple[OpInfo, ...]:
    """Lists the operators of a float32 graph whose weights are packed into 4 bits without loss."""
    found = []
    for op in graph.ops:
        if op.name not in _PACKED_OPS or op.inputs[_WEIGHT_INPUT] < 0:
            continue
        kernel = stored_values(graph.tensors[op.inputs[_WEIGHT_INPUT]])
        if kernel is not None and (grid_bits(kernel) or _MANY_BITS) <= _PACKED_BITS:
            found.append(op)
    return tuple(found)


def _static_quantizer(data: bytes, graph: Subgraph, packed: Iterable[OpInfo]) -> Quantizer:
    quantizer = Quantizer(data)
    quantizer.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
    for op in packed:
        names = "".join(f"{graph.tensors[index].name};" for index in op.outputs)
        scope = f"^{re.escape(names)}$"
        quantizer.add_static_config(scope, TFLOperationName(op.name), 8, 4)
    return quantizer


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
        raise UnsupportedModelError("No operator of the model has an int8 kernel.")
    return without_empty_ranges(ranges)


def quantize_int8(data: bytes, samples: CalibrationSamples, options: ModeOptions) -> bytes:
    """Quantises weights per channel and activations per tensor, both to integers.

    A weight w becomes round(w / s) with s = max|w| / 127 of its channel; a zero stays zero. Kernels
    on the 4-bit grid lose nothing: FULLY_CONNECTED packs them two to a byte, with s = max|w| / 7;
    every other operator keeps bytes, with s = max|w| / 126, so that level q is stored as 18 · q.
    With `io_dtype="float32"` the file takes and gives real numbers and converts them at its border.

    Args:
        data: Bytes of a float32 .tflite file with a signature.
        samples: Inputs that show the ranges of the activations.
        options: The chosen `io_dtype`.

    Returns:
        Bytes of the int8 file.

    Raises:
        UnsupportedModelError: If nothing in the model can be computed in int8.
    """
    graph = read_flatfile(data).main
    packed = packed_ops(graph)
    with known_noise_held_back():
        quantizer = _static_quantizer(data, graph, packed)
        ranges = _ranges(data, samples, quantizer)
        ranges |= weight_ranges(graph, ranges, frozenset(op.index for op in packed))
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    quantized = with_inner_buffers(bytes(result.quantized_model))
    return add_float_border(quantized) if options.io_dtype == "float32" else quantized


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
