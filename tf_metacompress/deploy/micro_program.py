"""Runs a .tflite file on TensorFlow Lite Micro, and prints one line of JSON.

It is run in a process of its own: the kernels abort where they meet what they do not know, and
what they allocate is told on C's standard error only.

    python micro_program.py SYS_PATH_AS_JSON FOLDER NUM_INPUTS NUM_OUTPUTS ROOM

FOLDER has model.tflite, and inputs.npz with an array "INPUT" of shape (samples, ...) for each
input, or without any, to have one sample of zeros run. Results go into outputs.npz alike.
"""

import json
import os
import re
import sys
from pathlib import Path

MARK = "tf_metacompress_result:"
REFUSED = 3
_STEP = 16  # The alignment of an arena.
_TOTAL = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_PART = re.compile(r"'([^']+)' used (\d+) bytes")


def start(data, room):
    """Loads a model into an arena of `room` bytes."""
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data, arena_size=room)


def starts(data, room):
    """Whether a model can be loaded into an arena of `room` bytes."""
    try:
        start(data, room)
    except RuntimeError:
        return False
    return True


def run(interpreter, given, num_inputs, num_outputs):
    """Runs all samples and gives the outputs, each of shape (samples, ...)."""
    import numpy as np

    if not given:
        details = [interpreter.get_input_details(index) for index in range(num_inputs)]
        given = [np.zeros((1, *detail["shape"]), detail["dtype"]) for detail in details]
    collected = [[] for _ in range(num_outputs)]
    for sample in zip(*given, strict=True):
        for index, value in enumerate(sample):
            interpreter.set_input(value, index)
        interpreter.invoke()
        for index, values in enumerate(collected):
            values.append(np.array(interpreter.get_output(index)))
    return [np.stack(values) for values in collected]


def allocations(interpreter, file):
    """Lets the interpreter print what it allocated, and reads it from the file descriptor."""
    kept = os.dup(2)
    with open(file, "wb") as target:
        os.dup2(target.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    text = Path(file).read_text(errors="replace")
    totals = {word: int(count) for word, count in _TOTAL.findall(text)}
    return totals | {"parts": {name: int(count) for name, count in _PART.findall(text)}}


def smallest(data, used):
    """Finds the smallest arena that a model starts in; planning may need more than stays used."""
    low, high = 0, -(-used // _STEP) * _STEP
    while not starts(data, high):
        low, high = high, 2 * high
    while low and high - low > _STEP:
        middle = (low + high) // 2 // _STEP * _STEP
        low, high = (low, middle) if starts(data, middle) else (middle, high)
    return high


def main(words):
    """Runs the program and gives its exit code."""
    import resource

    import numpy as np

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder, counts = Path(words[0]), [int(word) for word in words[1:]]
    data = (folder / "model.tflite").read_bytes()
    with np.load(folder / "inputs.npz") as file:
        given = [file[str(index)] for index in range(len(file.files))]
    try:
        interpreter = start(data, counts[2])
        outputs = run(interpreter, given, *counts[:2])
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    told = allocations(interpreter, folder / "allocations.txt")
    told["smallest"] = smallest(data, told["total"])
    np.savez(folder / "outputs.npz", **{str(index): v for index, v in enumerate(outputs)})
    print(MARK + json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
