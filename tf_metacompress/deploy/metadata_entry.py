"""A named entry in a .tflite file, added in front of everything that is there.

Unpacking and packing a file again would lose what its maker arranged: the 16-byte alignment of
constants, constants and options appended behind the flatbuffer, archives appended behind those.
Here a new root table is put in front; it refers to the old parts, which keep every byte but the few
absolute positions that are moved along. Taking the entry out gives the old file back bit for bit.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatreader import IDENTIFIER, read_flatfile
from tf_metacompress.errors import CorruptFileError, invalid

_ALIGNMENT = 16
_LARGEST = 2**32 - 1
# Slots of the root table, and where a buffer's and an operator's vtable tell of a position.
_VERSION, _BUFFERS, _METADATA = 0, 4, 6
_BUFFER_OFFSET, _LARGE_OPTIONS_OFFSET = 6, 22
_ABSOLUTE = 1  # at or below it a position says that there is none
_READ_ERRORS = (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def read_entry(data: bytes, name: str) -> bytes | None:
    """Reads the metadata entry of that name.

    Args:
        data: A .tflite file.
        name: Name of the entry.

    Returns:
        Its content, None if the file has no such entry.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file, or the entry leads nowhere.
    """
    with _checked(data):
        found = _find(data, name)
    return None if found is None else data[found.begin : found.end]


def without_entry(data: bytes, name: str) -> bytes:
    """Gives the file as it was before `with_entry`.

    Args:
        data: A .tflite file.
        name: Name of the entry.

    Returns:
        The earlier file; the same bytes if `with_entry` did not add the entry.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file.
    """
    with _checked(data):
        found = _find(data, name)
        length = None if found is None else _aligned(found.end)
        if length is None or data[length + 4 : length + 8] != IDENTIFIER:
            return data
        return bytes(_moved(data, -length)[length:])


def with_entry(data: bytes, name: str, content: bytes) -> bytes:
    """Adds a metadata entry, or replaces the one of that name.

    Args:
        data: A .tflite file.
        name: Name of the entry.
        content: What it holds.

    Returns:
        The new file: the same bytes for the same arguments, whether or not they were added before.

    Raises:
        CorruptFileError: If the bytes are not a .tflite file.
        InvalidArgumentError: If the file would be too large for the format.

    Example:
        >>> from ai_edge_litert import schema_py_generated as schema
        >>> with_entry(b"not a model", "NOTE", b"text")
        Traceback (most recent call last):
        ...
        tf_metacompress.errors.CorruptFileError: The file is not a .tflite file (no TFL3 mark). \
Received: model of 11 bytes. Export the model again.
    """
    data = without_entry(data, name)
    with _checked(data):
        front = _Front(data, name.encode(), content)
        if front.length + len(data) <= _LARGEST:
            return bytes(front.written() + _moved(data, front.length))
    raise invalid("A .tflite file must stay below 4 GiB.", file_bytes=len(data))


@contextmanager
def _checked(data: bytes) -> Iterator[None]:
    """Checks a file, and turns what goes wrong where the check did not look into an error."""
    read_flatfile(data)
    try:
        yield
    except _READ_ERRORS as error:
        raise CorruptFileError(
            f"The metadata or buffers of the .tflite file lead nowhere. Received: {len(data)} "
            "bytes. Copy or export it again."
        ) from error


@dataclass(frozen=True)
class _Found:
    """Where the content of an entry lies."""

    begin: int
    end: int


def _find(data: bytes, name: str) -> _Found | None:
    model = schema.Model.GetRootAs(data, 0)
    if 4 * max(model.MetadataLength(), model.BuffersLength()) > len(data):
        raise ValueError("longer than the file")
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == name.encode():
            return _content(data, model, entry.Buffer())
    return None


def _content(data: bytes, model: schema.Model, index: int) -> _Found:
    if not 0 <= index < model.BuffersLength():
        raise ValueError("no such buffer")
    buffer = model.Buffers(index)
    if buffer.Offset() > _ABSOLUTE:
        begin, size = buffer.Offset(), buffer.Size()
    elif buffer.DataIsNone():
        return _Found(0, 0)
    else:
        table = buffer._tab
        begin, size = table.Vector(table.Offset(4)), buffer.DataLength()
    if begin + size > len(data):
        raise ValueError("ends behind the file")
    return _Found(begin, begin + size)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _moved(data: bytes, distance: int) -> bytearray:
    """Copies a file, its absolute positions moved by a distance."""
    moved = bytearray(data)
    for position in set(_absolute_positions(data)):
        value = struct.unpack_from("<Q", data, position)[0]
        if value > _ABSOLUTE:
            struct.pack_into("<Q", moved, position, value + distance)
    return moved


def _absolute_positions(data: bytes) -> Iterator[int]:
    """Where the file holds positions that count from its beginning."""
    model = schema.Model.GetRootAs(data, 0)
    tables = [(model.Buffers(n)._tab, _BUFFER_OFFSET) for n in range(model.BuffersLength())]
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        count = graph.OperatorsLength()
        tables += [(graph.Operators(n)._tab, _LARGE_OPTIONS_OFFSET) for n in range(count)]
    for table, slot in tables:
        if table.Offset(slot):
            yield table.Pos + table.Offset(slot)


class _Front:
    """The new beginning of a file: header, root table, entry, content."""

    def __init__(self, data: bytes, name: bytes, content: bytes) -> None:
        self._name, self._content = name, content
        self._model = schema.Model.GetRootAs(data, 0)
        self._fields = self._old_fields()
        kept = range(self._model.MetadataLength())
        self._entries = [
            self._model.Metadata(n)._tab.Pos for n in kept if self._model.Metadata(n).Name() != name
        ]
        count = self._model.BuffersLength()
        self._buffers = [self._model.Buffers(n)._tab.Pos for n in range(count)]
        self._place()

    def _old_fields(self) -> dict[int, int]:
        """Slot to what it refers to, from the beginning of the old file."""
        table = self._model._tab
        vtable = table.Pos - struct.unpack_from("<i", table.Bytes, table.Pos)[0]
        size = struct.unpack_from("<H", table.Bytes, vtable)[0]
        present = [slot for slot in range((size - 4) // 2) if table.Offset(4 + 2 * slot)]
        positions = {slot: table.Pos + table.Offset(4 + 2 * slot) for slot in present}
        targets = {slot: table.Indirect(position) for slot, position in positions.items()}
        targets.pop(_VERSION, None)
        return targets

    def _place(self) -> None:
        """Lays the parts out; all but the content begin at multiples of four."""
        slots = sorted({_VERSION, _BUFFERS, _METADATA, *self._fields})
        self._slots = slots
        self._vtable = 8
        self._table = _fourth(self._vtable + 4 + 2 * (slots[-1] + 1))
        self._metadata = self._table + 4 + 4 * len(slots)
        self._small_vtable = self._metadata + 4 + 4 * (len(self._entries) + 1)
        self._entry = self._small_vtable + 8
        self._name_at = self._entry + 12
        self._buffers_at = _fourth(self._name_at + 4 + len(self._name) + 1)
        self._buffer_vtable = self._buffers_at + 4 + 4 * (len(self._buffers) + 1)
        self._buffer = self._buffer_vtable + 8
        self._content_at = _aligned(self._buffer + 8 + 4)
        self.length = _aligned(self._content_at + len(self._content))

    def written(self) -> bytearray:
        """Writes the parts in their places."""
        self._out = bytearray(self.length)
        self._put(0, "I", self._table)
        self._out[4:8] = IDENTIFIER
        self._write_root()
        self._write_vector(self._metadata, self._entries, self._entry)
        self._write_vector(self._buffers_at, self._buffers, self._buffer)
        self._put(self._small_vtable, "HHHH", 8, 12, 4, 8)
        self._put(self._entry, "i", self._entry - self._small_vtable)
        self._refer(self._entry + 4, self._name_at)
        self._put(self._entry + 8, "I", len(self._buffers))
        self._write_bytes(self._name_at, self._name)
        self._put(self._buffer_vtable, "HHH", 6, 8, 4)
        self._put(self._buffer, "i", self._buffer - self._buffer_vtable)
        self._refer(self._buffer + 4, self._content_at - 4)
        self._write_bytes(self._content_at - 4, self._content)
        return self._out

    def _write_root(self) -> None:
        sizes = 4 + 2 * (self._slots[-1] + 1), 4 + 4 * len(self._slots)
        self._put(self._vtable, "HH", *sizes)
        self._put(self._table, "i", self._table - self._vtable)
        targets = {slot: self.length + target for slot, target in self._fields.items()}
        targets |= {_METADATA: self._metadata, _BUFFERS: self._buffers_at}
        for place, slot in enumerate(self._slots):
            self._put(self._vtable + 4 + 2 * slot, "H", 4 + 4 * place)
            position = self._table + 4 + 4 * place
            if slot == _VERSION:
                self._put(position, "I", self._model.Version())
            else:
                self._refer(position, targets[slot])

    def _write_vector(self, start: int, old: Sequence[int], new: int) -> None:
        targets = [*(self.length + target for target in old), new]
        self._put(start, "I", len(targets))
        for place, target in enumerate(targets):
            self._refer(start + 4 + 4 * place, target)

    def _write_bytes(self, start: int, content: bytes) -> None:
        self._put(start, "I", len(content))
        self._out[start + 4 : start + 4 + len(content)] = content

    def _put(self, position: int, layout: str, *values: int) -> None:
        struct.pack_into("<" + layout, self._out, position, *values)

    def _refer(self, position: int, target: int) -> None:
        self._put(position, "I", target - position)


def _fourth(position: int) -> int:
    return -(-position // 4) * 4
