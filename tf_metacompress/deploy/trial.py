"""Runs a .tflite file once in a process of its own, before this process trusts it.

A file can be consistent and still end the process that runs it: the runtime aborts on some
quantisation scales instead of reporting them. A file that somebody else made is therefore tried
first where a crash does no harm. It takes about 0.3 s.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tf_metacompress.errors import CorruptFileError

_TIMEOUT_S = 120.0
_REFUSED = 3
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
import numpy as np
from ai_edge_litert.interpreter import Interpreter
with open(sys.argv[1], "rb") as file:
    data = file.read()
try:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
except (ValueError, RuntimeError):
    sys.exit(3)
"""


def try_in_child(data: bytes, source: str = "model") -> None:
    """Loads and runs a file once in a child process.

    Args:
        data: The whole file.
        source: What to call it in an error, usually its path.

    A file that the runtime refuses with an error passes: it does no harm, and opening it here
    gives the same error.

    Raises:
        CorruptFileError: If the runtime crashes on the file or does not come back within two
            minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.tflite")
        copy.write_bytes(data)
        command = [sys.executable, "-c", _PROGRAM, str(copy), json.dumps(sys.path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=dict(os.environ)
            )
        except subprocess.TimeoutExpired as error:
            raise _refused(source, data, f"no answer within {_TIMEOUT_S:.0f} s") from error
    if done.returncode < 0:
        raise _refused(source, data, f"a crash ({signal.Signals(-done.returncode).name})")
    if done.returncode not in (0, _REFUSED):
        raise _refused(source, data, (done.stderr.strip().splitlines() or ["no message"])[-1])


def _refused(source: str, data: bytes, reason: str) -> CorruptFileError:
    return CorruptFileError(
        f"The runtime cannot run this .tflite file: {reason}. "
        f"Received: {source} of {len(data)} bytes."
    )
