"""Which tensors of a file hold the results of a Keras layer, told by the numbers in them.

The converter names a tensor after whatever it fused, so names tell nothing. Both are run on the
same samples and compared.
"""

from collections.abc import Collection, Mapping

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.anatomy.samples import Samples
from tf_metacompress.anatomy.signature import ModelSignature
from tf_metacompress.deploy.precision import float32_compute
from tf_metacompress.layer_tree import Call, leaf_layers, redirected

_SAME = 1e-4


def layer_results(
    model: keras.Model, paths: Collection[str], signature: ModelSignature, samples: Samples
) -> dict[str, list[np.ndarray]]:
    """Runs a model in float32 and keeps what some of its layers give.

    Args:
        model: Any Keras 3 model. It is not changed.
        paths: Paths of innermost layers.
        signature: The inputs of the model.
        samples: The inputs.

    Returns:
        Path to the results, one a call, in the order in which the layers first run. Of a layer with
        several results the first is kept; what runs inside a traced function is left out.
    """
    results: dict[str, list[np.ndarray]] = {}

    def keep(path: str, layer: keras.layers.Layer, call: Call) -> Call:
        def keeping(*args: object, **kwargs: object) -> object:
            outputs = call(*args, **kwargs)
            first = next(iter(keras.tree.flatten(outputs)), None)
            if tf.is_tensor(first) and not tf.is_symbolic_tensor(first):
                results.setdefault(path, []).append(np.asarray(first))
            return outputs

        return keeping

    layers = {path: layer for path, layer in leaf_layers(model).items() if path in paths}
    with float32_compute(model), redirected(layers, keep):
        model(signature.pack(samples.arrays), training=False)
    return results


def same_tensors(result: np.ndarray, tensors: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Names the tensors that hold the same numbers in the same order.

    Args:
        result: What a layer gave.
        tensors: Tensor name to what it held on the same samples.

    Returns:
        Names in the order of `tensors`; none for a result whose numbers are all alike.
    """
    wanted = result.reshape(-1).astype(np.float64)
    largest = np.abs(wanted).max(initial=0.0)
    if largest == 0.0 or np.ptp(wanted) == 0.0:
        return ()
    return tuple(
        name
        for name, values in tensors.items()
        if values.size == wanted.size
        and np.abs(values.reshape(-1) - wanted).max() <= _SAME * largest
    )
