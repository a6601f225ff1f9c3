"""What whole models tell of latency beside their layers: overhead, and borders between formats."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from tf_metacompress.anatomy import compressible_layers, kernel_arrays
from tf_metacompress.anatomy.samples import random_samples
from tf_metacompress.anatomy.signature import model_signature
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.deploy.devices import Device
from tf_metacompress.deploy.latency_turns import block_medians
from tf_metacompress.deploy.layer_formats import op_formats
from tf_metacompress.deploy.modes import CalibrationSamples, ModeOptions, get_mode
from tf_metacompress.deploy.proof import Source
from tf_metacompress.errors import UnsupportedModelError
from tf_metacompress.policy import Action, LatencyTable, LayerPlan
from tf_metacompress.policy.format_borders import in_float

_FLOAT, _INT8 = 32, 8


def with_whole_model(
    table: LatencyTable, model: keras.Model, device: Device, actions: Sequence[Action]
) -> LatencyTable:
    """Adds to the latencies of layers what a model costs beside them.

    A border is priced by differences: in two files every other layer is float32, the even ones in
    one and the odd ones in the other, so that both together hold each layer once in either format,
    as the float32 and the int8 file together do; what they take longer are their borders.

    Args:
        table: Latencies of its layers.
        model: A built Keras 3 model.
        device: Where it runs.
        actions: What was measured of each layer; borders are priced where float32 and integers are
            among them.

    Returns:
        The table with `overhead_ms`, under the first action, and `border_ms`.

    Raises:
        UnsupportedModelError: If the model cannot be made of layers in both formats.
    """
    infos = compressible_layers(model)
    names = [info.name for info in infos]
    first_in_float = in_float(actions[0])
    wanted = [[first_in_float] * len(names)]
    mixes = len({in_float(action) for action in actions}) == 2 and len(names) > 1
    if mixes:
        even = [row % 2 == 0 for row in range(len(names))]
        wanted += [[not first_in_float] * len(names), even, [not one for one in even]]
    files = _files(model, names, wanted)
    times_ms = block_medians(device, files, table.num_threads)
    border_ms = 0.0
    if mixes:
        one, other, even, odd = times_ms
        each = (even + odd - one - other) / (2 * (len(names) - 1))
        border_ms = max(float(np.median(each)), 0.0)
    alone = dataclasses.replace(table, overhead_ms=0.0, border_ms=border_ms)
    layers_ms = alone.model_ms(infos, [actions[0]] * len(infos))
    overhead_ms = max(float(np.median(times_ms[0])) - layers_ms, 0.0)
    return dataclasses.replace(alone, overhead_ms=overhead_ms)


def _files(
    model: keras.Model, names: Sequence[str], wanted: Sequence[Sequence[bool]]
) -> list[bytes]:
    """One file for each list that says of each layer whether it is float32."""
    source = Source(conversion=convert_float(model), kernels=kernel_arrays(model, folded=True))
    samples = random_samples(model_signature(model)).singles()
    files = []
    for floats in wanted:
        plans = [
            LayerPlan(layer=name, weight_bits=_FLOAT if real else _INT8)
            for name, real in zip(names, floats, strict=True)
        ]
        if all(floats):
            files.append(source.conversion.data)
        elif not any(floats):
            files.append(get_mode("int8").quantize(source.conversion.data, samples, ModeOptions()))
        else:
            files.append(_mixed(source, samples, plans))
    return [bytes(file) for file in files]


def _mixed(source: Source, samples: CalibrationSamples, plans: Sequence[LayerPlan]) -> bytes:
    options = ModeOptions(formats=op_formats(source.file, source.mapped, plans))
    try:
        return get_mode("mixed").quantize(source.conversion.data, samples, options)
    except Exception as error:
        # The quantizer raises errors of its own and of the runtime.
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UnsupportedModelError(
            f"The model cannot be made of float32 and integer layers together: {reason}. Give "
            "`actions` of integers only, or of float32 only."
        ) from error
