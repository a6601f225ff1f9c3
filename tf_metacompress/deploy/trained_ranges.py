"""The activation ranges a student was trained with, found again in the file it became.

The student rounds the results of certain layers to ranges that it learned. The file computes the
same only if the same tensors get the same ranges. Names tell nothing, as the converter names a
tensor after whatever it fused; so both are run on the same samples and compared by value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.deploy.convert import Conversion
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.report import RangeUse
from tf_metacompress.deploy.value_match import layer_results, same_tensors
from tf_metacompress.wrappers import ActivationRange, CompressedModel

_NUM_SAMPLES = 2
_SCALE_ROUNDING = 1e-5
_MADE_BY_QUANTIZE = "_quantized"


@dataclass(frozen=True, kw_only=True)
class TrainedRanges:
    """Ranges by tensor.

    Attributes:
        by_layer: Path of a layer to the tensors that hold its results; none when not found.
        by_tensor: Tensor name to "min" and "max", each an array of one value.
    """

    by_layer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_tensor: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def use(self, file: FlatFile) -> RangeUse:
        """Looks up which of the ranges an exported file really has.

        Args:
            file: The exported file.

        Returns:
            The layers with trained ranges, and the others.
        """
        scales: dict[str, list[float]] = {}
        for tensor in file.main.tensors:
            if tensor.type in ("int8", "int16") and tensor.scales.size == 1:
                name = tensor.name.removesuffix(_MADE_BY_QUANTIZE)
                scales.setdefault(name, []).append(float(tensor.scales[0]))
        made = {
            layer: [scales[name] for name in names if name in scales]
            for layer, names in self.by_layer.items()
        }
        used = tuple(
            layer
            for layer, found in made.items()
            if found and all(self._agrees(layer, scale) for scale in found)
        )
        other = tuple(
            layer
            for layer, found in made.items()
            if layer not in used and (found or not self.by_layer[layer])
        )
        return RangeUse(used=used, other=other)

    def _agrees(self, layer: str, scales: Sequence[float]) -> bool:
        name = self.by_layer[layer][0]
        low, high = (float(self.by_tensor[name][end].item()) for end in ("min", "max"))
        eight_bits = (max(high, 0.0) - min(low, 0.0)) / 255
        sixteen_bits = max(high, -low) / 32767
        return any(
            math.isclose(scale, expected, rel_tol=_SCALE_ROUNDING)
            for scale in scales
            for expected in (eight_bits, sixteen_bits)
        )


def trained_ranges(
    model: keras.Model, plain: keras.Model, conversion: Conversion, samples: Samples | None
) -> TrainedRanges:
    """Finds the tensors of a float32 file to which the ranges of a student belong.

    Args:
        model: What is exported; only a student of `compress` has ranges.
        plain: The same model, finalized.
        conversion: Its float32 file.
        samples: Inputs to compare on, None when the file will compute with real numbers only.

    Returns:
        The ranges by tensor; nothing for a model without learned ranges.
    """
    learned = _learned(model)
    if samples is None or not learned:
        return TrainedRanges()
    few = samples.spread(_NUM_SAMPLES)
    results = layer_results(plain, learned, conversion.signature, few)
    tensors = LitertModel.open(conversion.data, trusted=True, keep_tensors=True).run_all(few.arrays)
    by_layer = {
        path: _holding(results.get(path, ()), own, tensors) for path, own in learned.items()
    }
    by_tensor = {}
    for path, names in by_layer.items():
        low, high = (float(value) for value in (learned[path].range_min, learned[path].range_max))
        found = {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        by_tensor |= dict.fromkeys(names, found)
    return TrainedRanges(by_layer=by_layer, by_tensor=by_tensor)


def _learned(model: keras.Model) -> dict[str, ActivationRange]:
    if not isinstance(model, CompressedModel):
        return {}
    ranges = {c.plan.layer: c.output_range for c in model.compressors if c.output_range is not None}
    return {
        path: own for path, own in ranges.items() if float(own.range_max) > float(own.range_min)
    }


def _holding(
    results: Sequence[np.ndarray], own: ActivationRange, tensors: Mapping[str, np.ndarray]
) -> tuple[str, ...]:
    """Names the tensors that hold any of the results, within the bounds of their layer."""
    clipped = [np.clip(result, own.minimum, own.maximum) for result in results]
    return tuple(dict.fromkeys(name for one in clipped for name in same_tensors(one, tensors)))
