"""Reading a Keras model: its layers, kernels, costs and the tensors a device will quantise."""

from tf_metacompress.anatomy.activations import activation_layers
from tf_metacompress.anatomy.batch_norm import followers, gain_array
from tf_metacompress.anatomy.checks import check_keras_model
from tf_metacompress.anatomy.copying import copy_model, copy_state, own_classes
from tf_metacompress.anatomy.describe import (
    compressible_layers,
    describe,
    describe_calls,
    kernel_arrays,
    kernels_of_calls,
    select_compressible,
)
from tf_metacompress.anatomy.fusion import (
    bounds_by_path,
    only_clips,
    quantization_points,
    result_bounds,
)
from tf_metacompress.anatomy.kinds import KINDS, Kind, kind_of, register_kind
from tf_metacompress.anatomy.neighbours import Neighbours, neighbours
from tf_metacompress.anatomy.outputs import classification_loss, gives_probabilities
from tf_metacompress.anatomy.trace import LayerCall, trace
from tf_metacompress.anatomy.untouched import UntouchedLayer, untouched

__all__ = [
    "KINDS",
    "Kind",
    "LayerCall",
    "Neighbours",
    "UntouchedLayer",
    "activation_layers",
    "bounds_by_path",
    "check_keras_model",
    "classification_loss",
    "compressible_layers",
    "copy_model",
    "copy_state",
    "describe",
    "describe_calls",
    "followers",
    "gain_array",
    "gives_probabilities",
    "kernel_arrays",
    "kernels_of_calls",
    "kind_of",
    "neighbours",
    "only_clips",
    "own_classes",
    "quantization_points",
    "register_kind",
    "result_bounds",
    "select_compressible",
    "trace",
    "untouched",
]
