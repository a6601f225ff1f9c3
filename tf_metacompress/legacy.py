"""A policy carried out on a Keras 2 (tf_keras) model by tfmot's own wrappers.

This is the only module that imports tensorflow-model-optimization, and only when one of its
functions is called: that import sets an environment variable and, before TensorFlow, would turn
`tf.keras` into tf_keras. Here both stay as they are.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import tensorflow as tf

from tf_metacompress.anatomy import KINDS
from tf_metacompress.errors import UnsupportedModelError, invalid, wrong_type
from tf_metacompress.policy import KernelInfo, LayerInfo, LayerPlan, Policy, parse_pattern

_VARIABLE = "TF_USE_LEGACY_KERAS"
_FLOAT_BITS = 32
_WIDEST_INTEGER = 8


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = os.environ.get(_VARIABLE)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


@functools.cache
def _tfmot() -> ModuleType:
    _ = tf.keras.layers  # resolved before tfmot can change what it means
    with _environment_kept():
        import tensorflow_model_optimization

    return tensorflow_model_optimization


def prune(
    model: Any,
    policy: Policy,
    *,
    begin_step: int = 0,
    end_step: int | None = None,
    frequency: int = 100,
) -> Any:
    """Wraps the layers of a tf_keras model in tfmot's `PruneLowMagnitude`, as a policy says.

    Train the result with the callback that `pruning_callback` gives, then call `strip`. Use
    `quantize` on what that returns for the bits of the policy.

    Args:
        model: A Sequential or Functional tf_keras model. It is not changed.
        policy: Sparsity of each layer. Patterns "unstructured", "N:M" and "block" are tfmot's own.
        begin_step: First step that prunes.
        end_step: Step at which tfmot's cubic schedule reaches the target; None for the target at
            once.
        frequency: Steps between two updates of the masks.

    Returns:
        A tf_keras model that shares no layer with `model`.

    Raises:
        UnsupportedModelError: For a model that is not flat, or not of tf_keras.
        InvalidArgumentError: If a rule fits no layer, or asks for what tfmot does not do.
    """
    plans = _plans(model, policy)
    for plan in plans.values():
        _check_prunable(plan)
    sparsity = _tfmot().sparsity.keras

    def wrapped(layer: Any) -> Any:
        plan = plans.get(layer.name)
        if plan is None or plan.sparsity == 0.0:
            return _copied(layer)
        if end_step is None:
            schedule = sparsity.ConstantSparsity(plan.sparsity, begin_step, frequency=frequency)
        else:
            schedule = sparsity.PolynomialDecay(
                0.0, plan.sparsity, begin_step, end_step, frequency=frequency
            )
        return sparsity.prune_low_magnitude(_copied(layer), schedule, **_structure(plan))

    return _cloned(model, wrapped)


def pruning_callback() -> Any:
    """Makes the callback that moves tfmot's masks during `fit`.

    Returns:
        A `tfmot.sparsity.keras.UpdatePruningStep`.
    """
    return _tfmot().sparsity.keras.UpdatePruningStep()


def strip(model: Any) -> Any:
    """Takes tfmot's pruning wrappers off a trained model.

    Args:
        model: What `prune` returned.

    Returns:
        A plain tf_keras model with zeros in its kernels.
    """
    return _tfmot().sparsity.keras.strip_pruning(model)


def quantize(model: Any, policy: Policy, *, keep_zeros: bool = True) -> Any:
    """Makes a tf_keras model quantisation-aware by tfmot, with the bits of a policy.

    Args:
        model: A Sequential or Functional tf_keras model. It is not changed.
        policy: `weight_bits` of each layer, 2 to 8; layers of 32 bits stay as they are.
        keep_zeros: Whether weights that are zero stay zero in training, in layers of 8 bits.

    Returns:
        What `tfmot.quantization.keras.quantize_apply` gives.

    Raises:
        UnsupportedModelError: For a model that is not flat, or not of tf_keras.
        InvalidArgumentError: If a rule fits no layer, or asks for what tfmot does not do.
    """
    plans = _plans(model, policy)
    for plan in plans.values():
        _check_quantizable(plan)
    quantization = _tfmot().quantization.keras

    def annotated(layer: Any) -> Any:
        plan = plans.get(layer.name)
        copy = _copied(layer)
        if plan is not None and plan.weight_bits == _FLOAT_BITS:
            return copy
        if plan is None or plan.weight_bits == _WIDEST_INTEGER:
            return quantization.quantize_annotate_layer(copy)
        config = weight_bits_config()(plan.weight_bits, _kernel_names(layer))
        return quantization.quantize_annotate_layer(copy, config)

    with quantization.quantize_scope({"WeightBitsConfig": weight_bits_config()}):
        clone = _cloned(model, annotated)
        if not keep_zeros:
            return quantization.quantize_apply(clone)
        scheme = _tfmot().experimental.combine.Default8BitPrunePreserveQuantizeScheme()
        return quantization.quantize_apply(clone, scheme)


@functools.cache
def weight_bits_config() -> type:
    """Gives the tfmot `QuantizeConfig` of layers with other than 8 bits.

    Returns:
        The class; pass it in `quantize_scope` to load a saved model.
    """
    base = _tfmot().quantization.keras.QuantizeConfig
    quantizers = _tfmot().quantization.keras.quantizers

    class WeightBitsConfig(base):
        """Symmetric weights of some bits, one scale a tensor; activations of 8 bits."""

        def __init__(self, weight_bits: int, kernels: Sequence[str]) -> None:
            self.weight_bits = weight_bits
            self.kernels = list(kernels)
            self.weight_quantizer = quantizers.LastValueQuantizer(
                num_bits=weight_bits, per_axis=False, symmetric=True, narrow_range=True
            )
            self.output_quantizer = quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )

        def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            return [(getattr(layer, name), self.weight_quantizer) for name in self.kernels]

        def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
            for name, weight in zip(self.kernels, quantize_weights, strict=True):
                setattr(layer, name, weight)

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            del layer, quantize_activations  # nothing is quantised inside the layer

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return [self.output_quantizer]

        def get_config(self) -> dict[str, Any]:
            return {"weight_bits": self.weight_bits, "kernels": self.kernels}

    return WeightBitsConfig


def _plans(model: Any, policy: Policy) -> dict[str, LayerPlan]:
    if not isinstance(policy, Policy):
        raise wrong_type("`policy` must be a Policy.", policy=policy)
    _check_flat_legacy_model(model)
    return {plan.layer: plan for plan in policy.resolve([_info(layer) for layer in model.layers])}


def _check_flat_legacy_model(model: Any) -> None:
    bases = [f"{base.__module__}.{base.__name__}" for base in type(model).__mro__]
    if not any(name.startswith("tf_keras") for name in bases):
        raise wrong_type(
            "`model` must be a tf_keras model.",
            "Use `compress` for a Keras 3 model.",
            model=model,
        )
    nested = [layer.name for layer in getattr(model, "layers", ()) if hasattr(layer, "layers")]
    if not getattr(model, "_is_graph_network", False) or nested:
        raise UnsupportedModelError(
            "tfmot works on flat Sequential and Functional tf_keras models only. "
            f"Received: model={model.name!r}, models inside it={nested}. Build the model with "
            "`keras` and use `compress`, which takes any kind of model."
        )


def _kernel_names(layer: Any) -> list[str]:
    names = ("kernel", "depthwise_kernel", "pointwise_kernel")
    return [name for name in names if getattr(layer, name, None) is not None]


def _info(layer: Any) -> LayerInfo:
    kernels = tuple(
        KernelInfo(
            name=name,
            shape=tuple(getattr(layer, name).shape),
            channel_axis=(len(getattr(layer, name).shape) - 1,),
        )
        for name in _kernel_names(layer)
    )
    kind = type(layer).__name__
    return LayerInfo(
        name=layer.name,
        kind=kind,
        kernels=kernels,
        num_params=layer.count_params() if layer.built else 0,
        compressible=kind in KINDS and bool(kernels),
    )


def _check_prunable(plan: LayerPlan) -> None:
    if plan.sparsity and parse_pattern(plan.pattern).kind == "channel":
        raise invalid("tfmot has no channel pruning.", layer=plan.layer, pattern=plan.pattern)
    if plan.score != "magnitude" or plan.threshold is not None:
        raise invalid(
            "tfmot prunes by magnitude, to a target sparsity.",
            layer=plan.layer,
            score=plan.score,
            threshold=plan.threshold,
        )


def _check_quantizable(plan: LayerPlan) -> None:
    is_integer = plan.weight_bits <= _WIDEST_INTEGER or plan.weight_bits == _FLOAT_BITS
    if not is_integer or (plan.quantizer, plan.range_setting) != ("symmetric", "min_max"):
        raise invalid(
            "tfmot quantises weights to 2 to 8 bits, symmetrically, over their whole range.",
            layer=plan.layer,
            weight_bits=plan.weight_bits,
            quantizer=plan.quantizer,
            range_setting=plan.range_setting,
        )


def _structure(plan: LayerPlan) -> dict[str, Any]:
    """The arguments of tfmot for a pattern."""
    pattern = parse_pattern(plan.pattern)
    if pattern.kind == "block":
        return {"block_size": pattern.block, "block_pooling_type": pattern.pooling.upper()}
    if pattern.kind == "N:M":
        return {"sparsity_m_by_n": (pattern.m - pattern.n, pattern.m)}
    return {}


def _copied(layer: Any) -> Any:
    return layer.__class__.from_config(layer.get_config())


def _cloned(model: Any, clone_function: Any) -> Any:
    import tf_keras

    clone = tf_keras.models.clone_model(model, clone_function=clone_function)
    sources = {layer.name: layer for layer in model.layers}
    for layer in clone.layers:
        inner = getattr(layer, "layer", layer)
        source = sources.get(inner.name)
        if source is not None:
            for target, value in zip(inner.weights, source.weights, strict=True):
                target.assign(value)
    return clone
