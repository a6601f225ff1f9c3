"""What it costs to convert numbers where a float32 layer meets an integer one.

A border lies between neighbours in the order of the layers that compute in different numbers, and
at the ends of a model, which takes and gives float32, where its first or last layer does not. In a
net with branches this is a simplification: what really is converted are tensors.
"""

from collections.abc import Sequence

from tf_metacompress.policy.action import Action

_INTEGER_BITS = 8

Latencies = tuple[float, float]
"""Milliseconds of a layer in integers and in float32; infinite where it cannot run so."""


def in_float(action: Action) -> bool:
    """Says whether a layer computes in float32 under an action."""
    return action.weight_bits > _INTEGER_BITS


def num_borders(floats: Sequence[bool]) -> int:
    """Counts the borders of a model.

    Args:
        floats: For each layer in order, whether it computes in float32.

    Returns:
        The number of changes from float32 over the layers back to float32.

    Example:
        >>> num_borders([True, False, False, True]), num_borders([False, False])
        (2, 2)
    """
    path = (True, *floats, True)
    return sum(one != other for one, other in zip(path[:-1], path[1:], strict=True))


def fastest_formats(
    latencies: Sequence[Latencies], border_ms: float
) -> tuple[float, tuple[bool, ...]]:
    """Finds in which numbers the layers are fastest together: a shortest path.

    Args:
        latencies: Of each layer in order.
        border_ms: What a border costs.

    Returns:
        The milliseconds, borders included, and for each layer whether it computes in float32.

    Example:
        >>> fastest_formats([(1.0, 2.0), (9.0, 4.0), (1.0, 2.0)], 0.7)
        (8.0, (True, True, True))
    """
    integer, real = (border_ms, ()), (0.0, ())
    for integer_ms, float_ms in latencies:
        to_integer = min(integer, (real[0] + border_ms, real[1]), key=_first)
        to_real = min(real, (integer[0] + border_ms, integer[1]), key=_first)
        integer = to_integer[0] + integer_ms, (to_integer[1], False)
        real = to_real[0] + float_ms, (to_real[1], True)
    total_ms, chain = min(real, (integer[0] + border_ms, integer[1]), key=_first)
    floats = []
    while chain:
        chain, last = chain
        floats.append(last)
    return total_ms, tuple(reversed(floats))


def _first(path: tuple) -> float:
    return path[0]
