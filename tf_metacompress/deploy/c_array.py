"""`export_c_array`: a .tflite file as C source for a microcontroller."""

import hashlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from tf_metacompress.atomic import PathLike, check_writable, write_text
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.interpreter import read_model_file
from tf_metacompress.deploy.micro import measured_arena
from tf_metacompress.deploy.micro_ops import resolver_methods
from tf_metacompress.deploy.micro_process import micro_version
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.deploy.records import Record
from tf_metacompress.errors import check_int, invalid

_TEMPLATES = resources.files("tf_metacompress.deploy") / "templates"
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PER_LINE = 16
_ARENA_UNKNOWN = """\
/* Bytes of working memory to hand to tflite::MicroInterpreter. Not known when this was written: let
 * interpreter.arena_used_bytes() tell, then define it here or with -D${macro}_ARENA_BYTES=... */"""
_ARENA_KNOWN = """\
/* Bytes of working memory, aligned to 16, to hand to tflite::MicroInterpreter. ${origin} */
#ifndef ${macro}_ARENA_BYTES
#define ${macro}_ARENA_BYTES ${arena}u
#endif"""
_ARENA_MEASURED = """\
Measured with the
 * portable kernels of ${version} on ${machine}: optimised kernels (CMSIS-NN,
 * Xtensa) may need more, see interpreter.arena_used_bytes()."""


@dataclass(frozen=True, kw_only=True)
class CArrayReport(Record):
    """What `export_c_array` wrote.

    Attributes:
        files: The files: array, its header, and the resolver that registers the operators.
        model_bytes: Size of the array.
        sha256: Hash of the array's bytes, hexadecimal.
        methods: Calls that register the operators.
        arena_bytes: Working memory that the header states, None if it states none.
    """

    files: tuple[str, ...]
    model_bytes: int
    sha256: str
    methods: tuple[str, ...]
    arena_bytes: int | None


def export_c_array(
    path: PathLike, out: PathLike, *, name: str = "model", arena_bytes: int | None = None
) -> CArrayReport:
    """Writes a .tflite file as C source for TensorFlow Lite Micro.

    `NAME.c` has the file as an array aligned to 16 bytes, `NAME.h` declares it (for C and C++), and
    `NAME_ops.h` registers the operators that the file uses with a `MicroMutableOpResolver`.

    Args:
        path: The file, best exported in mode "int8" with `io_dtype="int8"`.
        out: Folder to write into.
        name: Beginning of the file names and of the C names.
        arena_bytes: Bytes of working memory for the macro `NAME_ARENA_BYTES`. None measures them
            with the extra `micro`; without it the macro is left to the reader, with a note on how
            to find out.

    Returns:
        What was written.

    Raises:
        UnsupportedModelError: If TensorFlow Lite Micro lacks a kernel (all of them are named), or,
            with the extra `micro`, refuses the file.
        CorruptFileError: If it is not a .tflite file.
        InvalidArgumentError: If an argument is not allowed or the folder cannot be written into.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise invalid("`name` must be a C identifier.", "Use letters, digits and _.", name=name)
    if arena_bytes is not None:
        check_int("arena_bytes", arena_bytes, minimum=1)
    folder = check_writable(Path(out) / f"{name}.c").parent
    file = read_flatfile(read_model_file(path), str(path))
    methods = resolver_methods(file)
    data = with_inner_buffers(file.data)
    measured = measured_arena(file, str(path)) if arena_bytes is None else None
    arena = _arena_lines(name.upper(), arena_bytes, measured)
    sources = _sources(data, methods, name, arena)
    files = tuple(str(write_text(folder / file, text)) for file, text in sources.items())
    return CArrayReport(
        files=files,
        model_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        methods=methods,
        arena_bytes=arena_bytes or measured,
    )


def _arena_lines(macro: str, given: int | None, measured: int | None) -> str:
    origin = "Given by the caller."
    if measured is not None:
        version = f"tflite-micro {micro_version()}"
        origin = Template(_ARENA_MEASURED).substitute(version=version, machine=platform.machine())
    known = given or measured
    lines = Template(_ARENA_UNKNOWN if known is None else _ARENA_KNOWN)
    return lines.substitute(macro=macro, arena=known, origin=origin)


def _sources(data: bytes, methods: tuple[str, ...], name: str, arena: str) -> dict[str, str]:
    values = {
        "name": name,
        "macro": name.upper(),
        "num_bytes": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": "\n".join(_lines(data)),
        "arena": arena,
        "num_ops": str(len(methods)),
        "calls": "\n".join(
            f"  if (resolver.{method}() != kTfLiteOk) return kTfLiteError;" for method in methods
        ),
    }
    names = {f"{name}.c": "array.c", f"{name}.h": "array.h", f"{name}_ops.h": "array_ops.h"}
    return {
        file: Template((_TEMPLATES / f"{template}.txt").read_text("utf-8")).substitute(values)
        for file, template in names.items()
    }


def _lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _PER_LINE):
        row = data[start : start + _PER_LINE]
        yield "    " + ", ".join(f"0x{byte:02x}" for byte in row) + ","
