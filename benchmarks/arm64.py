"""Do LiteRT's ARM kernels compute what the host's compute? And where does sparsity begin to pay?

benchmarks/arm64_root.sh                     # once: an emulated arm64 in build/arm64
python benchmarks/arm64.py [FILE.tflite …]   # half a minute; further files are compared too

Files of int8 nets run on this host and on a Cortex-A76 that qemu emulates, on the same inputs; the
outputs are compared as they are stored. Float nets of 1 × 1 convolutions with more and more zeros
are timed in the sparse encoding and in the dense one. The emulator's times count instructions,
roughly: they show which kernel runs, and are no latency of anything. The emulator is slower on
zeros, so only files with the same weights are compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

ZEROS = (0.6, 0.65, 0.68, 0.75, 0.9)
NUM_SAMPLES = 16


def run(python, folder, blocks=0, runs=1):
    """Runs the files of a folder with a Python; its outputs by file, and what it told."""
    from tf_metacompress.deploy.devices import run_litert

    tools = str(Path(run_litert.__file__).parent)
    words = [HERE / "arm64_sides/run_files.py", tools, folder, str(blocks), str(runs)]
    done = subprocess.run([python, *words], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(run_litert.MARK)]
    if done.returncode or not lines:
        sys.exit(f"{python} failed: {done.stderr[-500:]}")
    found = []
    for number in range(len(list(folder.glob("*.tflite")))):
        with np.load(folder / f"{number}.out.npz") as file:
            found.append([file[str(index)] for index in range(len(file.files))])
    return found, json.loads(lines[-1].removeprefix(run_litert.MARK))


def on_both(files, python, blocks=0, runs=1):
    """Runs files on the host and under emulation; a row a file, and both machines."""
    from arm64_sides.compared import compared
    from arm64_sides.models import drawn

    from tf_metacompress.deploy.flatreader import read_flatfile

    read = [read_flatfile(data, name) for name, data in files.items()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, file in enumerate(read):
            (folder / f"{number}.tflite").write_bytes(file.data)
            samples = drawn(file, NUM_SAMPLES)
            np.savez(folder / f"{number}.npz", **{str(i): s for i, s in enumerate(samples)})
        here, host = run(sys.executable, folder, blocks, runs)
        there, emulated = run(python, folder, blocks, runs)
    rows = [
        compared(label, file, here[number], there[number])
        | {"emulated_cpu_ms": emulated["cpu_ms"][number], "host_cpu_ms": host["cpu_ms"][number]}
        for number, (label, file) in enumerate(zip(files, read, strict=True))
    ]
    return rows, {"host": host["machine"], "emulated": emulated["machine"]}


def main(given=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="further .tflite files")
    parser.add_argument("--root", type=Path, default=Path("build/arm64"))
    parser.add_argument("--blocks", type=int, default=7, help="turns of each timed file")
    parser.add_argument("--out", type=Path, default=HERE / "results/arm64.json")
    arguments = parser.parse_args(given)
    python = (arguments.root / "python").absolute()
    if not python.is_file():
        print(f"Left out: there is no {python}. Make it: benchmarks/arm64_root.sh {arguments.root}")
        return
    from arm64_sides.compared import markdown
    from arm64_sides.models import int8_files, pointwise_file

    named = {path.name: path.read_bytes() for path in arguments.files}
    parity, machines = on_both(int8_files() | named, python)
    nets = {
        f"{zeros:.0%} zeros, {'sparse' if encoded else 'dense'}": pointwise_file(zeros, encoded)
        for zeros in ZEROS
        for encoded in (False, True)
    }
    cliff, _ = on_both(nets, python, arguments.blocks, 3)
    result = {
        "machines": machines,
        "num_samples": NUM_SAMPLES,
        "parity": [{k: v for k, v in row.items() if not k.endswith("cpu_ms")} for row in parity],
        "cliff": [
            {"zeros": zeros, "dense": cliff[2 * number], "sparse": cliff[2 * number + 1]}
            for number, zeros in enumerate(ZEROS)
        ],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
