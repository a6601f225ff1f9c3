"""Takes the models of `keras.applications` the whole way, each in a process of its own.

    python -m tests.conformance.applications              # what is missing in the results
    python -m tests.conformance.applications VGG16        # this one again
    python -m tests.conformance.applications --table      # the results as Markdown
    python -m tests.conformance.applications --model net.keras --data data.npz --epochs 2

A model is compressed (half of the weights zero, 8 bits), fitted for a few steps on made-up
pictures, saved, loaded, finalized, exported to int8 and compared with Keras. Failures are published
as they are. The column "8-bit input" tells how far the float32 outputs move when nothing but the
inputs is rounded to 8 bits: what the untrained net itself makes of a small error. `--data` names
arrays x, y, x_test and y_test; with them accuracies are reported.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "applications.json"
TIMEOUT_S = 900
NAMES = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0",
    "EfficientNetV2B0", "ResNet50", "ResNet50V2", "DenseNet121", "NASNetMobile", "InceptionV3",
    "Xception", "VGG16", "ConvNeXtTiny", "MLPerf Tiny ResNet-8", "MLPerf Tiny DS-CNN",
    "MLPerf Tiny MobileNetV1-0.25", "MLPerf Tiny autoencoder", "MLPerf Tiny wake word",
)  # fmt: skip
COLUMNS = (
    "model", "input", "compressible", "left in float", "fit", "save/load",
    "8-bit input", "int8 error", "same class", "file / float32", "seconds",
)  # fmt: skip


def run_one(name: str, extra: list[str]) -> dict:
    """Runs one model in a new process; a crash or a timeout is a result too."""
    command = [sys.executable, "-m", "tests.conformance.application_run", name, *extra]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    failure = {"model": name, "seconds": {}, "input": []}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return {**failure, "failure": f"no result within {TIMEOUT_S} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {**failure, "failure": f"exit code {done.returncode}: {last[:300]}"}
    result = json.loads(done.stdout.strip().splitlines()[-1])
    result["seconds"]["total"] = round(time.monotonic() - start, 1)
    return result


def read_results() -> dict[str, dict]:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


def row(result: dict) -> list[str]:
    """One line of the table; empty cells behind the stage that failed."""
    left = ", ".join(f"{n} {kind}" for kind, n in sorted(result.get("left_float", {}).items()))
    difference = result.get("reload_difference")
    numbers = {
        key: result.get(key)
        for key in ("parity_error", "agreement", "size_ratio", "compressible", "rounding_error")
    }
    shown = {key: "" if value is None else value for key, value in numbers.items()}
    return [
        result["model"],
        "×".join(map(str, result["input"])),
        str(shown["compressible"]),
        left or "–",
        {True: "yes", False: "no"}.get(result.get("fit"), ""),
        "" if difference is None else ("same" if difference < 1e-5 else f"±{difference:.1g}"),
        shown["rounding_error"] and f"{shown['rounding_error']:.3f}",
        shown["parity_error"] and f"{shown['parity_error']:.3f}",
        shown["agreement"] if shown["agreement"] == "" else f"{shown['agreement']:.0%}",
        shown["size_ratio"] and f"{shown['size_ratio']:.2f}",
        f"{result['seconds'].get('total', 0):.0f}",
    ]


def table(results: dict[str, dict]) -> str:
    """The results as Markdown, failures named below."""
    known = [results[name] for name in NAMES if name in results]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(row, known)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    failures = [f"- {r['model']}: {r['failure']}" for r in known if r["failure"]]
    return text + "\n\n" + ("\n".join(failures) or "No failures.") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to run again")
    parser.add_argument("--table", action="store_true", help="only print the results")
    parser.add_argument("--model", help="a .keras file of your own")
    parser.add_argument("--data", help="arrays x, y, x_test, y_test")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--sparsity", type=float, default=0.5)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown models: {sorted(unknown)}; known: {', '.join(NAMES)}")
    results = read_results()
    if arguments.model:
        extra = ["--model", arguments.model, "--epochs", str(arguments.epochs)]
        extra += ["--sparsity", str(arguments.sparsity)]
        extra += ["--data", arguments.data] if arguments.data else []
        print(json.dumps(run_one(Path(arguments.model).stem, extra), indent=2))
        return
    for name in () if arguments.table else arguments.names or NAMES:
        if name in results and not arguments.names:
            continue
        results[name] = run_one(name, [])
        ordered = {known: results[known] for known in NAMES if known in results}
        RESULTS.write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")
        print(name, results[name]["failure"] or "passed", results[name]["seconds"], flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
