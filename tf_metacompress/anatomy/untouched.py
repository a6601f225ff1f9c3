"""What compression does not touch in a model, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tf_metacompress.anatomy.batch_norm import followers
from tf_metacompress.anatomy.checks import check_keras_model
from tf_metacompress.anatomy.describe import describe_calls
from tf_metacompress.anatomy.kinds import KINDS
from tf_metacompress.anatomy.trace import LayerCall, trace
from tf_metacompress.layer_tree import composite_layers, inner_layers
from tf_metacompress.policy import LayerInfo, Policy

_FOLDED = "it is folded into"


@dataclass(frozen=True, kw_only=True)
class UntouchedLayer:
    """A layer with weights that stay as they are.

    Attributes:
        layer: Path of the layer.
        kind: Name of its class.
        num_params: How many weights that is.
        reason: Why, as half a sentence.
        is_folded: Whether another layer takes it up in deployment, so that nothing of it is left.
    """

    layer: str
    kind: str
    num_params: int
    reason: str
    is_folded: bool = False


def untouched(model: keras.Model, policy: Policy | None = None) -> tuple[UntouchedLayer, ...]:
    """Lists the layers whose weights compression leaves as they are, and says why.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What will be done; None lists what no policy can act on.

    Returns:
        One entry a layer with weights, in execution order.

    Raises:
        InvalidArgumentError: For a model that is not built, or when a rule fits no layer.

    Example:
        >>> parts = [keras.layers.Dense(4, name="dense"), keras.layers.LayerNormalization()]
        >>> model = keras.Sequential([keras.Input((3,)), *parts])
        >>> [(entry.kind, entry.reason) for entry in untouched(model)]
        [('LayerNormalization', 'layers of this class have no kernel')]
    """
    check_keras_model(model)
    calls = trace(model)
    infos = describe_calls(model, calls)
    layers = inner_layers(model)
    reasons = _structural_reasons(model, calls)
    called = {call.path for call in calls}
    kept = {} if policy is None else _left_by(policy, infos)
    for info in infos:
        if not info.compressible:
            kept[info.name] = reasons.get(info.name) or _reason(
                info, layers[info.name], info.name in called
            )
    return tuple(
        UntouchedLayer(
            layer=info.name,
            kind=info.kind,
            num_params=info.num_params,
            reason=kept[info.name],
            is_folded=kept[info.name].startswith(_FOLDED),
        )
        for info in infos
        if info.name in kept
    )


def _structural_reasons(model: keras.Model, calls: Sequence[LayerCall]) -> dict[str, str]:
    """Why layers stay as they are that other layers stand for, by path."""
    folded = {id(norm): path for path, norm in followers(calls).items()}
    reasons = dict.fromkeys(composite_layers(model), "the layers inside it are acted on instead")
    for call in calls:
        if call.weights_read_elsewhere:
            reasons[call.path] = "its weights are read by something else than its own calls"
        if id(call.layer) in folded:
            reasons[call.path] = f"{_FOLDED} {folded[id(call.layer)]!r}"
    return reasons


def _left_by(policy: Policy, infos: Sequence[LayerInfo]) -> dict[str, str]:
    return {
        plan.layer: "the policy leaves it in float32"
        for plan in policy.resolve(infos)
        if plan.untouched
    }


def _reason(info: LayerInfo, layer: keras.layers.Layer, is_called: bool) -> str:
    if not is_called:
        return "no call of the model reaches it"
    if info.kind in KINDS:
        return "its kernel is no plain floating weight, as after `quantize` or `enable_lora`"
    if type(layer).__module__.startswith("keras."):
        return "layers of this class have no kernel"
    return "its class is not known; `anatomy.register_kind` tells where its kernel is"
