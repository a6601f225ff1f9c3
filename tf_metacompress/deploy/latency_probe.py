"""Small models whose difference in latency is that of one layer."""

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from tf_metacompress.deploy.convert import Conversion, convert_float
from tf_metacompress.deploy.modes import ModeOptions, get_mode
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.policy import Action, LayerInfo

COPIES = (1, 4)
"""How often the layer stands in the two files; the difference is three layers."""

FLOAT, INT8, PACKED = "float32", "int8", "int4"
FORMS: tuple[str, ...] = (FLOAT, INT8, PACKED)
"""What can differ in latency: float kernels, int8 kernels, packed 4-bit kernels."""

_PACKED_KINDS, _PACKED_BITS, _INTEGER_BITS, _LARGEST_LEVEL = ("Dense",), 4, 8, 7
_NUM_SAMPLES = 4

Extents = tuple[int, ...]
Make = Callable[[Extents, Extents], tuple[keras.layers.Layer, Extents]]
"""From kernel and output shape to a layer and the shape of its input."""


def form_of(info: LayerInfo, action: Action) -> str:
    """Says which kernels the runtime has for a layer under an action.

    Args:
        info: The layer.
        action: What is done to it; zeros change nothing.

    Returns:
        One of `FORMS`: float16 weights run in float32, and 2 to 8 bits in int8, but for dense
        layers of up to 4 bits.
    """
    if action.weight_bits > _INTEGER_BITS:
        return FLOAT
    packed = info.kind in _PACKED_KINDS and action.weight_bits <= _PACKED_BITS
    return PACKED if packed else INT8


def _convolution(kind: str) -> Make:
    def make(kernel: Extents, output: Extents) -> tuple[keras.layers.Layer, Extents]:
        layer = getattr(keras.layers, kind)(kernel[-1], kernel[:-2], padding="same")
        return layer, (*output[:-1], kernel[-2])

    return make


def _depthwise(kind: str) -> Make:
    def make(kernel: Extents, output: Extents) -> tuple[keras.layers.Layer, Extents]:
        of_kind = getattr(keras.layers, kind)
        layer = of_kind(kernel[:-2], depth_multiplier=kernel[-1], padding="same")
        return layer, (*output[:-1], kernel[-2])

    return make


def _dense(kernel: Extents, output: Extents) -> tuple[keras.layers.Layer, Extents]:
    return keras.layers.Dense(kernel[1]), (*output[:-1], kernel[0])


_MAKERS: Mapping[str, Make] = {
    "Dense": _dense,
    **{kind: _convolution(kind) for kind in ("Conv1D", "Conv2D", "Conv3D")},
    **{kind: _depthwise(kind) for kind in ("DepthwiseConv1D", "DepthwiseConv2D")},
}


def check_probes(infos: Sequence[LayerInfo]) -> None:
    """Raises unless every layer can be timed alone.

    Args:
        infos: Compressible layers.

    Raises:
        UnsupportedModelError: Naming the layers of another kind, or of unknown extents.
    """
    unknown = [
        info.name
        for info in infos
        if info.kind not in _MAKERS or None in info.output_shape[1:] or not info.output_shape
    ]
    if unknown:
        raise UnsupportedModelError(
            f"Layers are timed alone that are of the kinds {', '.join(sorted(_MAKERS))} and give "
            f"results of known extents. Received: layers={unknown[:8]}. Give the latencies of the "
            "others in a LatencyTable of your own."
        )


def probe_files(info: LayerInfo, forms: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """Makes the files in which a layer stands once and several times, side by side.

    The layer keeps its kernel and output shape; its stride is 1, and a ReLU is fused to it. Inputs
    and outputs have the type that the layer computes in, so that nothing is converted.

    Args:
        info: The layer.
        forms: Some of `FORMS`.

    Returns:
        Form to one file for each of `COPIES`.
    """
    on_grid = {PACKED: True}
    converted = {
        grid: [_converted(info, copies, grid) for copies in COPIES]
        for grid in {on_grid.get(form, False) for form in forms}
    }
    return {
        form: tuple(_in_form(one, form) for one in converted[on_grid.get(form, False)])
        for form in forms
    }


def _converted(info: LayerInfo, copies: int, on_grid: bool) -> Conversion:
    kernel = info.weight_shape
    made = [_MAKERS[info.kind](kernel, info.output_shape[1:]) for _ in range(copies)]
    inputs = keras.Input(made[0][1])
    outputs = [keras.layers.ReLU()(layer(inputs)) for layer, _ in made]
    generator = np.random.default_rng(0)
    for layer, _ in made:
        if on_grid:
            levels = generator.integers(-_LARGEST_LEVEL, _LARGEST_LEVEL + 1, kernel)
            levels[0] = _LARGEST_LEVEL
            layer.kernel.assign(levels / (_LARGEST_LEVEL * np.sqrt(math.prod(kernel[:-1]))))
    return convert_float(keras.Model(inputs, outputs))


def _in_form(conversion: Conversion, form: str) -> bytes:
    if form == FLOAT:
        return conversion.data
    generator = np.random.default_rng(0)
    (spec,) = conversion.signature.tensor_specs()
    (name,) = conversion.signature.names
    samples = [
        {name: generator.normal(size=spec.shape).astype("float32")} for _ in range(_NUM_SAMPLES)
    ]
    options = ModeOptions(io_dtype="int8")
    return bytes(get_mode("int8").quantize(conversion.data, samples, options))
