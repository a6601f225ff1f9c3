"""What the runtime can store of a plan."""

import dataclasses
from collections.abc import Sequence

from tf_metacompress.errors import InvalidArgumentError, invalid
from tf_metacompress.policy.rules import LayerPlan
from tf_metacompress.policy.stored_form import LARGEST_INT8, largest_level

_FLOAT_WIDTHS = (16, 32)


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
    if plan.weight_bits not in _FLOAT_WIDTHS and not _fits_int8(plan):
        bits = [b for b in range(2, 9) if _fits_int8(dataclasses.replace(plan, weight_bits=b))]
        offered = f"{plan.quantizer} weights of {bits[0]} to {bits[-1]} bits"
        raise _cannot(plan, device, "weight_bits", offered)


def _fits_int8(plan: LayerPlan) -> bool:
    level = largest_level(plan)
    return level is None or level <= LARGEST_INT8


def _cannot(plan: LayerPlan, device: str, field: str, offered: str) -> InvalidArgumentError:
    return invalid(
        f"The device {device!r} cannot store what is planned for the layer {plan.layer!r}.",
        f"It offers {offered}.",
        **{field: getattr(plan, field), "quantizer": plan.quantizer},
    )


def _listed(bits: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(bits)))
