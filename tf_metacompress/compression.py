"""`compress` and `finalize`: a policy carried out on a model."""

from collections.abc import Sequence

import keras

from tf_metacompress.anatomy import (
    check_keras_model,
    describe_calls,
    followers,
    kind_of,
    only_clips,
    quantization_points,
    result_bounds,
    trace,
)
from tf_metacompress.errors import UnsupportedModelError, wrong_type
from tf_metacompress.layer_tree import inner_layers, is_redirected, leaf_layers
from tf_metacompress.policy import LayerPlan, Policy
from tf_metacompress.wrappers import CompressedModel, LayerCompressor

_INT8_BITS = 8


def copy_model(model: keras.Model) -> keras.Model:
    """Copies a model, weights included; the copy shares nothing with the original.

    Args:
        model: A built Keras 3 model with a working `get_config`.

    Returns:
        An uncompiled model of the same class.

    Raises:
        UnsupportedModelError: When the model's class cannot be made again from its config.
    """
    try:
        config = keras.saving.serialize_keras_object(model) | {"compile_config": None}
        copy = keras.saving.deserialize_keras_object(
            config, custom_objects=_own_classes(model), safe_mode=False
        )
    except (NotImplementedError, TypeError) as error:
        raise _cannot_be_copied(model, str(error)) from error
    if not copy.built:
        copy.build_from_config(model.get_build_config())
        copy.built = True
    if [v.shape for v in copy.variables] != [v.shape for v in model.variables]:
        raise _cannot_be_copied(model, "the copy has other weights")
    for source, target in zip(model.variables, copy.variables, strict=True):
        target.assign(source)
    return copy


def _own_classes(model: keras.Model) -> dict[str, type]:
    """Classes of the user's layers, which need not be registered with Keras to be copied."""
    layers = (model, *inner_layers(model).values())
    classes = {type(layer).__name__: type(layer) for layer in layers}
    return {name: found for name, found in classes.items() if not hasattr(keras.layers, name)}


def _cannot_be_copied(model: keras.Model, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"A model is copied through its config, and that of {type(model).__name__} does not "
        f"make it again ({' '.join(reason.split())[:300]}). Received: model={model.name!r}. Give "
        "the class `get_config` and `from_config`, or use the MetaCompress callback, which works "
        "in place."
    )


def _check_not_compressed(model: keras.Model) -> None:
    redirected = [path for path, layer in leaf_layers(model).items() if is_redirected(layer)]
    if isinstance(model, CompressedModel) or redirected:
        raise UnsupportedModelError(
            "The model is compressed already. "
            f"Received: model={model.name!r}. Pass the plain model, or finalize this one first."
        )


def make_compressors(model: keras.Model, policy: Policy) -> tuple[LayerCompressor, ...]:
    """Turns a policy into what acts on each layer of a model.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What happens to each layer.

    Returns:
        A compressor for each layer that the policy touches, and for each layer whose result the
        device will hold as an int8 tensor.
    """
    if not isinstance(policy, Policy):
        raise wrong_type("`policy` must be a Policy.", policy=policy)
    check_keras_model(model)
    _check_not_compressed(model)
    calls = trace(model)
    plans = {plan.layer: plan for plan in policy.resolve(describe_calls(model, calls))}
    points, batch_norms = quantization_points(calls), followers(calls)
    paths = {id(layer): path for path, layer in leaf_layers(model).items()}
    quantizes = any(plan.weight_bits < 32 for plan in plans.values())
    compressors = []
    for path, layer in {call.path: call.layer for call in calls}.items():
        plan = plans.get(path)
        if plan is None or plan.untouched:
            if not (quantizes and path in points):
                continue
            plan = LayerPlan(path, activation_bits=_INT8_BITS)
        compressor = LayerCompressor(
            plan,
            kernels=kind_of(layer).kernels if path in plans else {},
            batch_norm=paths[id(batch_norms[path])] if path in batch_norms else None,
            quantize_output=path in points,
            bounds=result_bounds(layer),
            only_clips=only_clips(layer),
        )
        compressors.append(compressor)
    return tuple(compressors)


def compress(model: keras.Model, policy: Policy) -> CompressedModel:
    """Makes a model that trains with the kernels and activations that will be deployed.

    Kernels are masked to the policy's sparsity and fake-quantised on the grid the exported file
    uses; activations are fake-quantised over moving-average ranges where the device holds int8
    tensors. The masks stand at their targets from the start: a `PruningSchedule` in `fit` lets
    them grow gradually instead.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What happens to each layer; layers without a rule stay as they are.

    Returns:
        A Keras model to compile and fit. Its input and output are those of `model`.

    Raises:
        UnsupportedModelError: For a Keras 2 model, or one already compressed.
        InvalidArgumentError: When a rule of the policy matches no layer.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
        >>> student = compress(model, tmc.Policy([tmc.Rule("head", sparsity=0.5, weight_bits=8)]))
        >>> finalize(student).layers[0].kernel.numpy().astype(bool).sum()
        np.int64(16)
    """
    compressors = make_compressors(model, policy)
    student = CompressedModel(copy_model(model), compressors, name=f"compressed_{model.name}")
    for compressor in compressors:
        compressor.update_masks()
    return student


def bake(compressors: Sequence[LayerCompressor], model: keras.Model) -> None:
    """Writes compressed kernels into the layers of a model.

    Args:
        compressors: Attached compressors.
        model: The model they act on, or a copy of it.
    """
    layers = leaf_layers(model)
    for compressor in compressors:
        compressor.bake(layers[compressor.plan.layer])


def finalize(student: CompressedModel) -> keras.Model:
    """Makes a plain Keras model of a trained student, zeros and grid values baked in.

    Args:
        student: What `compress` returned. It is not changed and can be trained on.

    Returns:
        A model of the class and architecture given to `compress`. It holds nothing of this package
        and loads without it. Its kernels lie on the grid that `export_litert` stores.

    Raises:
        ArgumentTypeError: If `student` did not come from `compress`.
    """
    if not isinstance(student, CompressedModel):
        raise wrong_type(
            "`student` must be a model made by `compress`.",
            "A model trained with the MetaCompress callback is plain already.",
            student=student,
        )
    plain = copy_model(student.network)
    bake(student.compressors, plain)
    return plain
