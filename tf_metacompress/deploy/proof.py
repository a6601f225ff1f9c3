"""Proof that an exported file is right: it runs beside the Keras model on the same samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import numpy as np

from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.deploy.convert import Conversion
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_map import LayerTensor, map_layers
from tf_metacompress.deploy.layer_parity import LayerSubject, LayerTable, compare_layers
from tf_metacompress.deploy.parity import ParityReport, compare_outputs
from tf_metacompress.deploy.reference import keras_outputs
from tf_metacompress.deploy.task_scores import score
from tf_metacompress.errors import MetacompressError
from tf_metacompress.wrappers import CompressedModel

_EVERY = "every layer"
_MAX_PARITY = 256


@dataclass(frozen=True, kw_only=True)
class Source:
    """The float32 file that all modes start from, and where each kernel is in it.

    Attributes:
        conversion: The file and its signature.
        kernels: Path of each layer to its kernels, with BatchNormalization folded in.
    """

    conversion: Conversion
    kernels: Mapping[str, Sequence[np.ndarray]]

    @cached_property
    def file(self) -> FlatFile:
        """What the file holds."""
        return read_flatfile(self.conversion.data)

    @cached_property
    def mapped(self) -> tuple[LayerTensor, ...]:
        """What became of each kernel."""
        return map_layers(self.file, self.kernels)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A file beside the model that it shall compute as.

    Attributes:
        model: The model that was converted.
        reference: The same one, or the student that rounds its activations.
        source: The float32 file of `model`.
        opened: The exported file.
    """

    model: keras.Model
    reference: keras.Model
    source: Source
    opened: LitertModel

    def parity(
        self,
        samples: Samples,
        tolerance: float,
        per_layer: bool,
        targets: Mapping[str, np.ndarray],
    ) -> ParityReport:
        """Runs both and compares the outputs, and the layers if they differ or it is asked for.

        Args:
            samples: The inputs; at most 256 of them, evenly spaced, are run.
            tolerance: Largest accepted relative error of an output.
            per_layer: Whether to compare layers even if the outputs agree.
            targets: Output name to the right answers for all samples.

        Returns:
            The differences.
        """
        chosen = _spread(len(samples))
        samples = samples.spread(_MAX_PARITY)
        conversion = self.source.conversion
        names = conversion.output_names
        expected = keras_outputs(self.reference, conversion.signature, names, samples)
        actual = self.opened.run(samples.arrays)
        parity = compare_outputs(expected, actual, tolerance=tolerance, source=samples.source)
        scores = [
            score(name, answers[chosen], expected[name], actual[name])
            for name, answers in targets.items()
        ]
        parity = replace(parity, scores=tuple(scores))
        if parity.passed and not per_layer:
            return parity
        table = self._layers(samples)
        return replace(parity, layers=table.layers, unseen_layers=table.unseen)

    def _layers(self, samples: Samples) -> LayerTable:
        student = isinstance(self.reference, CompressedModel)
        subject = LayerSubject(
            model=self.model,
            reference=self.reference.network if student else self.reference,
            signature=self.source.conversion.signature,
            file=self.source.file,
            mapped=self.source.mapped,
        )
        try:
            return compare_layers(subject, self.opened.file.data, samples)
        except (MetacompressError, RuntimeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            return LayerTable(
                unseen={_EVERY: f"the file does not run without a delegate: {reason}"}
            )


def _spread(count: int) -> np.ndarray:
    """Positions of the samples that are compared."""
    every = Samples(arrays={"position": np.arange(count)}, source="", num_given=count)
    return every.spread(_MAX_PARITY).arrays["position"]
