"""Damaged copies of a .tflite file: bytes changed, cut off, or fields of its tables changed."""

import random

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_WORDS = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\1\0")
_NUMBERS = (0, 1, 2, 3, -1, 127, 2**20, 2**31 - 1)
_REALS = (0.0, -1.0, float("inf"), float("nan"), 1e-30, 1e30)


def mutants(data, count, seed=0):
    """Yields damaged copies, the same on every call."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        mutant = rng.choice([_bytes_changed, _word_changed, _cut, _fields_changed])(data, rng)
        if mutant is not None:
            made += 1
            yield mutant


def _bytes_changed(data, rng):
    mutant = bytearray(data)
    for _ in range(rng.choice([1, 3, 10])):
        mutant[rng.randrange(len(mutant))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(mutant)


def _word_changed(data, rng):
    """Lengths and offsets are words at multiples of four."""
    place = 4 * rng.randrange(len(data) // 4)
    return data[:place] + rng.choice(_WORDS) + data[place + 4 :]


def _cut(data, rng):
    return data[: rng.randrange(len(data))]


def _fields_changed(data, rng):
    """None if the schema classes cannot write what came out."""
    model = schema.ModelT.InitFromPackedBuf(data)
    fields = list(_fields(model))
    for _ in range(rng.choice([1, 1, 2, 3])):
        _change(*rng.choice(fields), rng)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:  # whatever the generated code trips over
        return None
    return bytes(builder.Output())


def _fields(table):
    for name, value in vars(table).items():
        if isinstance(value, list) and value and hasattr(value[0], "__dict__"):
            for part in value:
                yield from _fields(part)
        elif hasattr(value, "__dict__"):
            yield from _fields(value)
        elif isinstance(value, list | np.ndarray | int | float):
            yield table, name


def _change(table, name, rng):
    value = getattr(table, name)
    if isinstance(value, float):
        setattr(table, name, rng.choice(_REALS))
    elif isinstance(value, int):
        setattr(table, name, type(value)(rng.choice(_NUMBERS)))
    elif len(value) and rng.random() < 0.5:
        changed = np.array(value)
        new = rng.choice(_REALS if changed.dtype.kind == "f" else _NUMBERS)
        changed[rng.randrange(len(changed))] = np.array(new).astype(changed.dtype)
        setattr(table, name, changed)
    else:
        setattr(table, name, np.array(value)[: rng.randrange(len(value) + 1)])
