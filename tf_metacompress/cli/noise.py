"""Holds back what TensorFlow and LiteRT print from C++ when they start, and nothing else.

They write it before any log level is heard, straight to the process's stderr. So that is led
through a small process of its own, which drops the known lines and passes on all others; it reads
on when this process crashes, so no last words are lost. Python's own stderr stays a terminal.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

KNOWN_NOISE = (
    r"WARNING: All log messages before absl::InitializeLog\(\) is called",
    r"I\d{4} [\d:.]+ +\d+ \w+\.\w+:\d+\] ",
    r"E\d{4} [\d:.]+ +\d+ cuda_\w+\.\w+:\d+\] failed call to cuInit",
    r"INFO: (Created|Initialized) TensorFlow Lite ",
)
"""Patterns of the lines that are dropped: information, and that there is no graphics card."""

_PROGRAM = """
import re, sys
known = re.compile("|".join(sys.argv[1:]).encode())
for line in sys.stdin.buffer:
    if not known.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
_STDERR = 2
_PATIENCE_S = 5.0


@contextlib.contextmanager
def known_noise_held_back() -> Iterator[None]:
    """Drops the known lines that native code writes to stderr while the block runs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    python_stderr = sys.stderr
    python_stderr.flush()
    command = [sys.executable, "-S", "-E", "-c", _PROGRAM, *KNOWN_NOISE]
    with open(os.dup(_STDERR), "w", buffering=1, errors="backslashreplace") as original:
        # In a session of its own, so that Ctrl-C does not end it before the last lines.
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        os.dup2(reader.stdin.fileno(), _STDERR)
        reader.stdin.close()
        sys.stderr = original
        try:
            yield
        finally:
            sys.stderr = python_stderr
            os.dup2(original.fileno(), _STDERR)
            # A child that outlives the block may hold the other end; it need not be waited for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                reader.wait(_PATIENCE_S)
