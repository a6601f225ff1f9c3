"""Which compressible layers stand before and behind each other in a traced model."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tf_metacompress.anatomy.batch_norm import consumers
from tf_metacompress.anatomy.kinds import kind_of
from tf_metacompress.anatomy.trace import LayerCall


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """What surrounds one compressible layer.

    Attributes:
        previous: Paths of the compressible layers whose results reach it through no other.
        following: Paths of those that its result reaches.
        feeds_addition: Whether its result reaches an addition, or a plain operator such as `x + y`,
            before the next compressible layer.
        has_batch_norm: Whether a BatchNormalization reads its result.
    """

    previous: tuple[str, ...] = ()
    following: tuple[str, ...] = ()
    feeds_addition: bool = False
    has_batch_norm: bool = False


def neighbours(calls: Sequence[LayerCall]) -> dict[str, Neighbours]:
    """Finds what surrounds each compressible layer.

    Args:
        calls: A trace. Where a plain operator hides what made an input, the compressible layer
            called last is taken for it.

    Returns:
        Path to surroundings.
    """
    is_kernel = [kind_of(call.layer) is not None for call in calls]
    readers = consumers(calls)
    before: dict[str, dict[str, None]] = {}
    after: dict[str, dict[str, None]] = {}
    adds: dict[str, bool] = {}
    normed: dict[str, bool] = {}
    for index, sources in enumerate(_sources(calls, is_kernel)):
        path = calls[index].path
        if not is_kernel[index]:
            continue
        before.setdefault(path, {}).update(sources)
        for source in sources:
            after.setdefault(source, {})[path] = None
        adds[path] = adds.get(path, False) or _reaches_addition(calls, is_kernel, readers, index)
        norms = (calls[reader].layer for reader in readers[index])
        normed[path] = any(isinstance(x, keras.layers.BatchNormalization) for x in norms)
    return {
        path: Neighbours(
            previous=tuple(name for name in before[path] if name != path),
            following=tuple(name for name in after.get(path, {}) if name != path),
            feeds_addition=adds[path],
            has_batch_norm=normed[path],
        )
        for path in before
    }


def _sources(calls: Sequence[LayerCall], is_kernel: Sequence[bool]) -> list[dict[str, None]]:
    """The compressible layers that reach each call, in order."""
    found: list[dict[str, None]] = []
    latest: dict[str, None] = {}
    for index, call in enumerate(calls):
        reaching: dict[str, None] = {}
        for producer in call.producers:
            if producer < 0:
                reaching.update(latest)
            elif is_kernel[producer]:
                reaching[calls[producer].path] = None
            else:
                reaching.update(found[producer])
        found.append(reaching)
        if is_kernel[index]:
            latest = {call.path: None}
    return found


def _reaches_addition(
    calls: Sequence[LayerCall],
    is_kernel: Sequence[bool],
    readers: dict[int, list[int]],
    begin: int,
) -> bool:
    waiting, seen = [begin], set()
    while waiting:
        index = waiting.pop()
        seen.add(index)
        if isinstance(calls[index].layer, keras.layers.Add):
            return True
        if calls[index].read_by_op and calls[index].clipped_by is None:
            return True
        waiting += [r for r in readers[index] if not is_kernel[r] and r not in seen]
    return False
