"""A dictionary that cannot change, for fields of frozen data."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class FrozenMapping(Mapping[Key, Value]):
    """An immutable, hashable, picklable mapping that keeps the order of its keys.

    Example:
        >>> pays = FrozenMapping({"size_bytes": True})
        >>> pays["size_bytes"], pays == {"size_bytes": True}
        (True, True)
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[Key, Value] | None = None) -> None:
        """Copies `items`."""
        self._items: dict[Key, Value] = dict(items or {})

    def __getitem__(self, key: Key) -> Value:
        """Gives the value stored under `key`."""
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        """Iterates over the keys in their first order."""
        return iter(self._items)

    def __len__(self) -> int:
        """Counts the keys."""
        return len(self._items)

    def __hash__(self) -> int:
        """Hashes the items, whatever their order."""
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        """Shows the items as a dictionary."""
        return repr(self._items)
