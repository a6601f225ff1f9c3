"""Measured latencies of layers, as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tf_metacompress import atomic
from tf_metacompress.errors import (
    CorruptFileError,
    check_int,
    check_positive,
    did_you_mean,
    invalid,
    wrong_type,
)
from tf_metacompress.policy import strict_json
from tf_metacompress.policy.action import Action
from tf_metacompress.policy.format_borders import in_float, num_borders
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.policy.layer_info import LayerInfo

_ENTRY_KEYS = ("layer", "sparsity", "weight_bits", "pattern", "latency_ms")

Entry = tuple[str, Action]
"""Layer key and action."""


def layer_key(layer_info: LayerInfo) -> str:
    """Names what decides a layer's latency: kind, kernel shape and output shape.

    Args:
        layer_info: The layer.

    Returns:
        A key such as "Conv2D 3x3x16x32 -> 14x14x32"; the batch axis is left out.

    Example:
        >>> from tf_metacompress.policy import KernelInfo
        >>> kernel = KernelInfo(name="kernel", shape=(64, 10), channel_axis=(1,))
        >>> layer_key(LayerInfo(name="d", kind="Dense", kernels=(kernel,), output_shape=(None, 10)))
        'Dense 64x10 -> 10'
    """
    kernel = "x".join(str(size) for size in layer_info.weight_shape)
    output = "x".join("?" if size is None else str(size) for size in layer_info.output_shape[1:])
    return f"{layer_info.kind} {kernel} -> {output}"


@dataclass(frozen=True)
class LatencyTable(Mapping[Entry, float]):
    """Milliseconds of one layer under one action, measured on one device.

    Attributes:
        entries: Latency in milliseconds by layer key (see `layer_key`) and action.
        device: Name of the device.
        runtime: Name and version of the runtime.
        num_threads: Threads the measurement used.
        errors: Half the 95 % interval of an entry in milliseconds, by the same keys; it may lack
            entries.
        overhead_ms: What an inference costs beside the layers: the call, operators without weights.
        border_ms: What each change between float32 and integers costs, from layer to layer in their
            order and at the ends of a model, which are float32.

    Raises:
        InvalidArgumentError: If a latency is not above 0, an error, `overhead_ms` or `border_ms`
            below 0, or `num_threads` not at least 1.

    Example:
        >>> table = LatencyTable(
        ...     {("Dense 64x10 -> 10", Action()): 0.02}, device="pixel-8", runtime="litert 2.3"
        ... )
        >>> LatencyTable.from_json(table.to_json()) == table
        True
    """

    entries: Mapping[Entry, float]
    device: str = field(kw_only=True)
    runtime: str = field(kw_only=True)
    num_threads: int = field(default=1, kw_only=True)
    errors: Mapping[Entry, float] = field(default_factory=FrozenMapping, kw_only=True)
    overhead_ms: float = field(default=0.0, kw_only=True)
    border_ms: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the entries and freezes them."""
        if not isinstance(self.entries, Mapping):
            raise wrong_type("`entries` must be a mapping.", entries=self.entries)
        for name in ("device", "runtime"):
            if not isinstance(getattr(self, name), str):
                raise wrong_type(f"`{name}` must be a string.", **{name: getattr(self, name)})
        check_int("num_threads", self.num_threads, 1)
        entries = {}
        for key, latency_ms in self.entries.items():
            entries[_check_key(key)] = check_positive("latency_ms", latency_ms)
        object.__setattr__(self, "entries", FrozenMapping(entries))
        if not isinstance(self.errors, Mapping) or not set(self.errors) <= set(entries):
            raise wrong_type("`errors` must map keys of `entries`.", errors=self.errors)
        errors = {key: _check_amount("errors", value) for key, value in self.errors.items()}
        object.__setattr__(self, "errors", FrozenMapping(errors))
        for name in ("overhead_ms", "border_ms"):
            object.__setattr__(self, name, _check_amount(name, getattr(self, name)))

    def __getitem__(self, key: Entry) -> float:
        """Gives the milliseconds stored under a layer key and an action."""
        return self.entries[key]

    def __iter__(self) -> Iterator[Entry]:
        """Iterates over layer keys and actions."""
        return iter(self.entries)

    def __len__(self) -> int:
        """Counts the entries."""
        return len(self.entries)

    def lookup(self, layer_info: LayerInfo, action: Action) -> float:
        """Gives the latency of a layer under an action.

        Args:
            layer_info: The layer.
            action: The action.

        Returns:
            Milliseconds.

        Raises:
            InvalidArgumentError: If the table has no such entry; the message names what is missing.
        """
        key = layer_key(layer_info)
        found = self.entries.get((key, action))
        if found is not None:
            return found
        known = sorted({layer for layer, _ in self.entries})
        if key in known:
            raise invalid(
                f"The latency table of {self.device!r} has no such action for {key!r}.",
                "Measure it, or leave the action out.",
                action=action,
            )
        raise invalid(
            f"The latency table of {self.device!r} has no layer {key!r}.",
            did_you_mean(key, known),
            layer=layer_info.name,
        )

    def model_ms(self, layer_infos: Sequence[LayerInfo], actions: Sequence[Action]) -> float:
        """Gives the latency of a whole model.

        Args:
            layer_infos: Its compressible layers, in order.
            actions: What is done to each.

        Returns:
            Milliseconds: the layers, the borders between float32 and integers, and the overhead.

        Raises:
            InvalidArgumentError: If the table lacks an entry.

        Example:
            >>> entries = {("Dense 64x10 -> 10", Action()): 0.02}
            >>> table = LatencyTable(entries, device="d", runtime="r", border_ms=0.01)
            >>> table.model_ms([], [])
            0.0
        """
        pairs = zip(layer_infos, actions, strict=True)
        layers_ms = sum(self.lookup(info, action) for info, action in pairs)
        borders = num_borders([in_float(action) for action in actions])
        return layers_ms + self.border_ms * borders + self.overhead_ms

    def to_json(self) -> str:
        """Writes the table as JSON with a schema version."""
        entries = [
            {
                "layer": layer,
                "sparsity": action.sparsity,
                "weight_bits": action.weight_bits,
                "pattern": action.pattern,
                "latency_ms": latency_ms,
                **self._error_of((layer, action)),
            }
            for (layer, action), latency_ms in self.entries.items()
        ]
        return strict_json.to_text(
            {
                "device": self.device,
                "runtime": self.runtime,
                "num_threads": self.num_threads,
                "overhead_ms": self.overhead_ms,
                "border_ms": self.border_ms,
                "entries": entries,
            }
        )

    def _error_of(self, key: Entry) -> dict[str, float]:
        return {"error_ms": self.errors[key]} if key in self.errors else {}

    @classmethod
    def from_json(cls, text: str) -> "LatencyTable":
        """Reads a table from JSON, strictly.

        Args:
            text: What `to_json` wrote.

        Returns:
            The table.

        Raises:
            CorruptFileError: If the text is not such a document; the message names the key.
        """
        document = strict_json.check_keys(
            strict_json.parse(text, what="latency table"),
            where="The latency table",
            required=("entries", "device", "runtime"),
            optional=("num_threads", "overhead_ms", "border_ms"),
        )
        listed = strict_json.check_list(document.pop("entries"), where="entries")
        rows = [_read_entry(value, f"entries[{i}]") for i, value in enumerate(listed)]
        entries = {key: latency_ms for key, latency_ms, _ in rows}
        if len(entries) < len(rows):
            raise CorruptFileError("entries holds a layer and action twice.")
        errors = {key: error_ms for key, _, error_ms in rows if error_ms is not None}
        return strict_json.build(cls, entries, where="The latency table", errors=errors, **document)

    def save(self, path: atomic.PathLike) -> None:
        """Writes the table to a JSON file, whole or not at all.

        Args:
            path: The file to be written.

        Raises:
            InvalidArgumentError: If the file cannot be written.
        """
        atomic.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: atomic.PathLike) -> "LatencyTable":
        """Reads a table from a JSON file, strictly.

        Args:
            path: What `save` wrote.

        Returns:
            The table.

        Raises:
            CorruptFileError: If the file cannot be read or does not hold a latency table.
        """
        return cls.from_json(strict_json.read_text(path))


def _check_key(key: object) -> Entry:
    fits = isinstance(key, tuple) and len(key) == 2
    if not fits or not isinstance(key[0], str) or not isinstance(key[1], Action):
        raise wrong_type("Keys of `entries` must be pairs of a layer key and an Action.", key=key)
    return key


def _check_amount(name: str, value: object) -> float:
    """Lets pass zero, and what `check_positive` does."""
    is_zero = isinstance(value, int | float) and not isinstance(value, bool) and value == 0
    return 0.0 if is_zero else check_positive(name, value)


def _read_entry(value: object, where: str) -> tuple[Entry, float, float | None]:
    fields = strict_json.check_keys(
        value, where=where, required=_ENTRY_KEYS, optional=("error_ms",)
    )
    layer, latency_ms = fields.pop("layer"), fields.pop("latency_ms")
    error_ms = fields.pop("error_ms", None)
    action = strict_json.build(Action, where=where, **fields)
    number = strict_json.build(check_positive, "latency_ms", latency_ms, where=where)
    if not isinstance(layer, str):
        raise CorruptFileError(f"{where}: 'layer' must be a string.")
    return (layer, action), number, error_ms
