"""What must hold of actions, budget and device before a problem is made of them."""

from collections.abc import Sequence

from tf_metacompress.errors import invalid
from tf_metacompress.policy import Action, Budget, DeviceProfile, LayerInfo


def check_device(
    profile: DeviceProfile, infos: Sequence[LayerInfo], actions: Sequence[Action]
) -> None:
    """Raises unless a device can run one of the actions on every layer.

    Args:
        profile: The device.
        infos: The compressible layers.
        actions: What may be done to a layer.

    Raises:
        InvalidArgumentError: Naming the layers without an action, and the bits on both sides.
    """
    without = [info for info in infos if not profile.actions(info, actions).any()]
    if without:
        raise invalid(
            "The device must be able to run one of the actions on every layer.",
            "Give `actions` with bits that it stores, or another device.",
            device=profile.name,
            layers=[info.name for info in without],
            device_bits=sorted({bits for info in without for bits in profile.bits(info.kind)}),
            action_bits=sorted({action.weight_bits for action in actions}),
        )


def check_actions(actions: Sequence[Action]) -> tuple[Action, ...]:
    """Checks what may be done to a layer.

    Args:
        actions: The actions.

    Returns:
        The same, as a tuple.

    Raises:
        InvalidArgumentError: When there are none, or one removes more than single weights.
    """
    actions = tuple(actions)
    patterns = sorted({action.pattern for action in actions})
    if patterns != ["unstructured"]:
        raise invalid(
            "`actions` must hold at least one Action, all of pattern 'unstructured'.",
            actions=len(actions),
            patterns=patterns,
        )
    return actions


def check_resources(budget: Budget) -> tuple[str, ...]:
    """Resources that a budget limits.

    Args:
        budget: The budget.

    Returns:
        At least one resource.

    Raises:
        InvalidArgumentError: When it limits the accuracy only.
    """
    if not budget.resources:
        raise invalid(
            "The budget must limit a size, the multiply-accumulates or the latency.",
            "Add size_ratio=0.1, for example.",
            budget=budget,
        )
    return budget.resources
