"""The wire format of protocol buffers, as far as a message of numbers needs it.

Format: https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections.abc import Iterator

from tf_metacompress.errors import DeviceError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10


def read_fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Reads the fields of a message.

    Args:
        data: The encoded message.

    Yields:
        Number and value of each field: an int, a float for the fixed widths, bytes for a string or
        an inner message.

    Raises:
        DeviceError: If the bytes are cut or no such message.

    Example:
        >>> list(read_fields(bytes([8, 150, 1])))
        [(1, 150)]
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value - (1 << 64) if value >> 63 else value
            continue
        form, size = {_FIXED64: ("<d", 8), _FIXED32: ("<f", 4)}.get(kind, ("", None))
        if kind == _BYTES:
            size, position = _varint(data, position)
        if size is None or position + size > len(data):
            raise _damaged(data)
        part = data[position : position + size]
        position += size
        yield number, struct.unpack(form, part)[0] if form else part


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), position + index + 1
    raise _damaged(data)


def _damaged(data: bytes) -> DeviceError:
    return DeviceError(f"The result file is damaged. Received: {len(data)} bytes.")
