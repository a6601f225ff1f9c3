"""Keeps the constants of a file inside its flatbuffer, where every runtime looks for them.

Above 256 KiB the quantizer appends them behind it, where a tool that rewrites the file loses them
and TensorFlow Lite Micro does not look.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatreader import IDENTIFIER, reading
from tf_metacompress.deploy.modes.sharing_builder import SharingBuilder


def pack(model: schema.ModelT, size: int) -> bytes:
    """Writes a model as the bytes of a .tflite file; `size` is about how many."""
    builder = SharingBuilder(size + 1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def with_inner_buffers(data: bytes) -> bytes:
    """Takes appended constants into the flatbuffer.

    Args:
        data: A .tflite file.

    Returns:
        The file with all constants inside; the same bytes if none was appended.

    Raises:
        CorruptFileError: If a part of it that `read_flatfile` does not look at is damaged.
    """
    with reading(data):
        model, appended = _unpacked(data)
        return pack(model, len(data)) if appended else data


def repacked(data: bytes) -> bytes:
    """Writes a file anew: constants inside the flatbuffer, equal vectors once.

    Args:
        data: A .tflite file.

    Returns:
        A file that computes the same.

    Raises:
        CorruptFileError: If a part of it that `read_flatfile` does not look at is damaged.
    """
    with reading(data):
        return pack(_unpacked(data)[0], len(data))


def _unpacked(data: bytes) -> tuple[schema.ModelT, bool]:
    """Unpacks a file with all constants, and tells whether any was behind the flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(data)
    appended = [buffer for buffer in model.buffers if buffer.offset]
    for buffer in appended:
        buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model, bool(appended)
