"""What the runtime can store of a plan."""

from collections.abc import Sequence

from tf_metacompress.errors import InvalidArgumentError, invalid
from tf_metacompress.policy.rules import LayerPlan

_FLOAT_WIDTHS = (16, 32)
_INT8 = 8
_LOG2_BITS = 4


def check_storable(
    plan: LayerPlan, device: str, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> None:
    """Raises when a device cannot store the weights or the result of a layer as planned.

    Args:
        plan: What is to happen to the layer.
        device: Name of the device.
        weight_bits: Bits of integer weights that it runs for this kind of layer.
        activation_bits: Bits of activations that it runs.

    Raises:
        InvalidArgumentError: If it cannot.
    """
    if plan.weight_bits not in (*_FLOAT_WIDTHS, *weight_bits):
        raise _cannot(plan, device, "weight_bits", f"weights of {_listed(weight_bits)} bits")
    if plan.activation_bits not in (32, *activation_bits):
        offered = f"activations of {_listed(activation_bits)} bits, or 32 for float"
        raise _cannot(plan, device, "activation_bits", offered)
    if plan.quantizer == "affine" and plan.weight_bits == _INT8:
        # An 8-bit integer minus its zero point needs 9 bits; of fewer bits, int8 is enough.
        raise _cannot(plan, device, "weight_bits", "affine weights of 2 to 7 bits")
    if plan.quantizer == "log2" and plan.weight_bits > _LOG2_BITS:
        # Seven powers of two, 1 to 64, fit an int8.
        raise _cannot(plan, device, "weight_bits", "log2 weights of 2 to 4 bits")


def _cannot(plan: LayerPlan, device: str, field: str, offered: str) -> InvalidArgumentError:
    return invalid(
        f"The device {device!r} cannot store what is planned for the layer {plan.layer!r}.",
        f"It offers {offered}.",
        **{field: getattr(plan, field), "quantizer": plan.quantizer},
    )


def _listed(bits: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(bits)))
