"""`compress` and `finalize`: a policy carried out on a model."""

from collections.abc import Sequence

import keras

from tf_metacompress.anatomy import (
    activation_layers,
    bounds_by_path,
    check_keras_model,
    copy_model,
    describe_calls,
    followers,
    kind_of,
    only_clips,
    quantization_points,
    trace,
)
from tf_metacompress.errors import UnsupportedModelError, wrong_type
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.ops import get_score
from tf_metacompress.policy import DeviceProfile, LayerPlan, Policy
from tf_metacompress.policy import device as device_profile
from tf_metacompress.surgery import make_channel_pruners, remove_silenced
from tf_metacompress.wrappers import (
    ChannelPruner,
    CompressedModel,
    Compressor,
    LayerCompressor,
    is_compressed,
)

_INT8_BITS = 8


def _check_not_compressed(model: keras.Model) -> None:
    if is_compressed(model):
        raise UnsupportedModelError(
            "The model is compressed already. "
            f"Received: model={model.name!r}. Pass the plain model, or finalize this one first."
        )


def make_compressors(
    model: keras.Model, policy: Policy, device: str | DeviceProfile | None = None
) -> tuple[Compressor, ...]:
    """Turns a policy into what acts on each layer of a model.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What happens to each layer.
        device: Name of the device that must be able to store the result, or a profile; None when
            that is left to the export. Channel counts are rounded up to its multiple.

    Returns:
        A pruner for each channel group that `pattern="channel"` touches; then a compressor for each
        layer that the policy touches, and for each layer whose result the device will hold as an
        int8 tensor. Those that look at the results of others come last.

    Raises:
        InvalidArgumentError: If the policy does not fit the model, or the device cannot store what
            it asks for.
    """
    if not isinstance(policy, Policy):
        raise wrong_type("`policy` must be a Policy.", policy=policy)
    check_keras_model(model)
    _check_not_compressed(model)
    calls = trace(model)
    infos = describe_calls(model, calls)
    plans = {plan.layer: plan for plan in policy.resolve(infos)}
    if device is not None:
        device_profile(device).check(plans.values(), infos)
    points, batch_norms = quantization_points(calls), followers(calls)
    bounds = bounds_by_path(calls)
    activations = activation_layers(calls)
    pruners, plans = make_channel_pruners(model, plans, device)
    paths = {id(layer): path for path, layer in leaf_layers(model).items()}
    quantizes = any(plan.weight_bits < 32 for plan in plans.values())
    compressors = []
    for path, layer in {call.path: call.layer for call in calls}.items():
        plan = plans.get(path)
        if plan is None or (plan.untouched and not plan.is_scored):
            if not (quantizes and path in points):
                continue
            plan = LayerPlan(path, activation_bits=_INT8_BITS)
        compressor = LayerCompressor(
            plan,
            kernels=kind_of(layer).kernels if path in plans else {},
            batch_norm=paths[id(batch_norms[path])] if path in batch_norms else None,
            quantize_output=path in points,
            bounds=bounds[path],
            only_clips=only_clips(layer),
            activation=activations.get(path) if _looks_at_results(plan) else None,
        )
        compressors.append(compressor)
    compressors.sort(key=lambda compressor: compressor.activation is not None)
    return (*pruners, *compressors)


def _looks_at_results(plan: LayerPlan) -> bool:
    return plan.is_scored and "zero_share" in get_score(plan.score).needs


def compress(
    model: keras.Model, policy: Policy, device: str | DeviceProfile | None = None
) -> CompressedModel:
    """Makes a model that trains with the kernels and activations that will be deployed.

    Kernels are masked to the policy's sparsity and fake-quantised on the grid the exported file
    uses; activations are fake-quantised over moving-average ranges where the device holds int8
    tensors. The masks stand at their targets from the start: a `PruningSchedule` in `fit` lets
    them grow gradually instead. With `pattern="channel"` all layers that share channels lose them
    together, and `finalize` cuts them out.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What happens to each layer; layers without a rule stay as they are.
        device: Name of the device that must be able to store the result, or a profile. None leaves
            that to the export. With `pattern="channel"`, channel counts are rounded up to its
            multiple; without a device the fractions are exact.

    Returns:
        A Keras model to compile and fit. Its input and output are those of `model`.

    Raises:
        UnsupportedModelError: For a Keras 2 model, or one already compressed.
        InvalidArgumentError: When a rule of the policy matches no layer, a pattern or a sparsity
            does not fit its layer, or the device cannot store what the policy asks for.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
        >>> student = compress(model, tmc.Policy([tmc.Rule("head", sparsity=0.5, weight_bits=8)]))
        >>> finalize(student).layers[0].kernel.numpy().astype(bool).sum()
        np.int64(16)
    """
    compressors = make_compressors(model, policy, device)
    student = CompressedModel(copy_model(model), compressors, name=f"compressed_{model.name}")
    for compressor in compressors:
        compressor.update_masks()
    return student


def bake(compressors: Sequence[Compressor], model: keras.Model) -> None:
    """Writes compressed kernels into the layers of a model.

    Args:
        compressors: Attached compressors.
        model: The model they act on, or a copy of it.
    """
    layers = leaf_layers(model)
    pruners = [c for c in compressors if isinstance(c, ChannelPruner)]
    for compressor in compressors:
        if compressor not in pruners:
            compressor.bake(layers[compressor.plan.layer])
    for pruner in pruners:
        pruner.bake(layers)


def finalize(student: CompressedModel) -> keras.Model:
    """Makes a plain Keras model of a trained student, zeros and grid values baked in.

    Args:
        student: What `compress` returned. It is not changed and can be trained on.

    Returns:
        A model of the class and architecture given to `compress`, with fewer channels where the
        policy says `pattern="channel"`; a subclassed model comes back as a Functional one then. It
        holds nothing of this package and loads without it. Its kernels lie on the grid that
        `export_litert` stores.

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
    pruners = [c for c in student.compressors if isinstance(c, ChannelPruner)]
    return remove_silenced(plain, pruners)
