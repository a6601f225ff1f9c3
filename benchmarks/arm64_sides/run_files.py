"""Runs .tflite files on given samples, and prints one line of JSON; the same on either machine.

It stands alone, like the program that measures boards, of which it uses parts:

    python run_files.py FOLDER_OF_RUN_LITERT FOLDER BLOCKS RUNS

FOLDER has 0.tflite, 1.tflite …, and 0.npz … with an array (samples, 1, …) an input as stored. It
gets 0.out.npz … alike. Then all files are run in turns, BLOCKS times RUNS runs each. What is told
is processor time: under emulation it stands for instructions, and other jobs disturb it less.
"""

import json
import sys
import time
from pathlib import Path


def outputs(interpreter, given, np):
    """Runs all samples; one array of shape (samples, 1, …) an output."""
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    results = [detail["index"] for detail in interpreter.get_output_details()]
    collected = [[] for _ in results]
    for sample in zip(*given):  # noqa: B905 for Python 3.9 on boards
        for index, value in zip(inputs, sample):  # noqa: B905
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for values, index in zip(collected, results):  # noqa: B905
            values.append(interpreter.get_tensor(index))
    return [np.stack(values) for values in collected]


def loaded(folder):
    """Opens each file and writes what it computes."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreters = []
    for number in range(len(list(folder.glob("*.tflite")))):
        data = (folder / f"{number}.tflite").read_bytes()
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        with np.load(folder / f"{number}.npz") as file:
            given = [file[str(index)] for index in range(len(file.files))]
        found = outputs(interpreter, given, np)
        np.savez(folder / f"{number}.out.npz", **{str(i): value for i, value in enumerate(found)})
        interpreters.append(interpreter)
    return interpreters


def cpu_ms(interpreter, runs):
    """Processor time of one run, the mean of some."""
    begin = time.process_time()
    for _ in range(runs):
        interpreter.invoke()
    return (time.process_time() - begin) * 1e3 / runs


def main(words):
    """Runs the program."""
    sys.path.append(words[0])
    from run_litert import MARK, machine

    folder, blocks, runs = Path(words[1]), int(words[2]), int(words[3])
    interpreters = loaded(folder)
    times = [[] for _ in interpreters]
    for block in range(blocks):
        for turn in range(len(interpreters)):
            index = (turn + block) % len(interpreters)
            times[index].append(cpu_ms(interpreters[index], runs))
    print("\n" + MARK + json.dumps({"machine": machine(), "cpu_ms": times}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
