"""Whether plans can be carried out on the layers they are for, asked before any work."""

from collections.abc import Iterable, Sequence

from tf_metacompress.errors import invalid
from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.pattern import PatternSpec, misfit, num_units, parse_pattern
from tf_metacompress.policy.rules import LayerPlan

_MOST_NAMED = 4


def check_plans(plans: Iterable[LayerPlan], layer_infos: Iterable[LayerInfo]) -> None:
    """Raises when a plan cannot be carried out on its layer.

    Args:
        plans: Plans of compressible layers.
        layer_infos: Those layers, and perhaps others.

    Raises:
        InvalidArgumentError: If an N:M or block pattern does not fit the shape of a kernel, or a
            sparsity would remove none or all of the weights of a layer.
    """
    infos = {info.name: info for info in layer_infos}
    pruned = [plan for plan in plans if plan.sparsity > 0.0]
    misfits = [text for plan in pruned for text in _misfits(plan, infos[plan.layer])]
    if misfits:
        shown = "; ".join(misfits[:_MOST_NAMED]) + ("; …" if len(misfits) > _MOST_NAMED else "")
        raise invalid(
            f"A pattern must fit the kernels it is for, and does not: {shown}.",
            "Give these layers a rule of their own, with pattern='unstructured' or another size.",
            layers=len({text.partition(":")[0] for text in misfits}),
        )
    for plan in pruned:
        _check_room(plan, infos[plan.layer])


def fitting_sparsity(layer_info: LayerInfo, sparsity: float) -> float:
    """Gives the sparsity that single-weight pruning really reaches on a small layer.

    Args:
        layer_info: The layer.
        sparsity: Fraction of zeros wanted, in [0, 1).

    Returns:
        Zero when it would round to no weight at all, at most what leaves the layer one weight;
        otherwise as it is.

    Example:
        >>> from tf_metacompress.policy import KernelInfo
        >>> kernel = KernelInfo(name="kernel", shape=(4, 1), channel_axis=(1,))
        >>> head = LayerInfo(name="head", kind="Dense", kernels=(kernel,))
        >>> fitting_sparsity(head, 0.1), fitting_sparsity(head, 0.99)
        (0.0, 0.75)
    """
    sizes = [kernel.size for kernel in layer_info.kernels]
    removed = [round(sparsity * size) for size in sizes]
    if not any(removed):
        return 0.0
    if removed == sizes:
        return (max(sizes) - 1) / max(sizes)
    return sparsity


def _misfits(plan: LayerPlan, info: LayerInfo) -> list[str]:
    spec = parse_pattern(plan.pattern)
    found = []
    for kernel in info.kernels:
        reason = misfit(spec, kernel.shape, kernel.channel_axis)
        if spec.kind == "N:M" and info.kind.startswith("Depthwise"):
            reason = reason or "a depthwise kernel has no input axis"
        if reason:
            shape = "x".join(map(str, kernel.shape))
            found.append(f"{info.name}: {plan.pattern!r} on {kernel.name} of {shape}, {reason}")
    return found


def _units(spec: PatternSpec, info: LayerInfo) -> Sequence[int]:
    return [num_units(spec, kernel.shape, kernel.channel_axis) for kernel in info.kernels]


def _check_room(plan: LayerPlan, info: LayerInfo) -> None:
    """A sparsity must remove something and leave something; an N:M pattern always does."""
    spec = parse_pattern(plan.pattern)
    if spec.kind == "N:M":
        return
    units = _units(spec, info)
    removed = [round(plan.sparsity * count) for count in units]
    what = {"channel": "channel", "block": "block"}.get(spec.kind, "weight")
    shapes = ", ".join("x".join(map(str, kernel.shape)) for kernel in info.kernels)
    if not any(removed):
        raise invalid(
            f"The layer {info.name!r} is too small for its sparsity, which would remove no {what}.",
            "Leave the layer out with a rule of its own, sparsity=0, or remove more.",
            sparsity=plan.sparsity,
            pattern=plan.pattern,
            kernels=shapes,
        )
    if removed == units:
        raise invalid(
            f"The layer {info.name!r} is too small for its sparsity, which would leave no {what}.",
            f"Remove at most {max(units) - 1} of {max(units)}, or leave the layer out.",
            sparsity=plan.sparsity,
            pattern=plan.pattern,
            kernels=shapes,
        )
