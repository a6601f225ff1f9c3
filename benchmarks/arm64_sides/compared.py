"""Outputs of two machines side by side, and the page of results."""

import hashlib
from statistics import median

import numpy as np


def compared(label, file, here, there):
    """One row: how far the outputs of one file lie apart, as stored and as real numbers."""
    tensors = [file.main.tensors[index] for index in file.main.outputs]
    return {
        "file": label,
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "file_bytes": len(file.data),
        "sparse": any(tensor.sparse for tensor in file.main.tensors),
        "outputs": [
            _output(tensor, a, b) for tensor, a, b in zip(tensors, here, there, strict=True)
        ],
    }


def _output(tensor, here, there):
    a, b = here.astype(np.float64), there.astype(np.float64)
    gap = np.abs(a - b)
    zero = float(tensor.zero_points[0]) if tensor.zero_points.size else 0.0
    size = np.sqrt(np.mean((a - zero) ** 2))
    flat = [values.reshape(len(values), -1) for values in (a, b)]
    return {
        "name": tensor.name,
        "type": tensor.type,
        "equal_share": float(np.mean(a == b)),
        "largest_steps": float(gap.max()) if np.issubdtype(here.dtype, np.integer) else None,
        "relative_error": float(np.sqrt(np.mean(gap**2)) / size) if gap.any() else 0.0,
        "agreement": float(np.mean(flat[0].argmax(1) == flat[1].argmax(1))),
    }


def markdown(result):
    """The page."""
    host, emulated = result["machines"]["host"], result["machines"]["emulated"]
    lines = [
        "### ARM kernels beside those of the host",
        "",
        f"LiteRT {host['litert']} on {host['cpu']} ({host['architecture']}) and on "
        f"{emulated['cpu']} ({emulated['architecture']}), one thread, {result['num_samples']} "
        "random samples. Equal: share of stored output values that are the same. Agreement: "
        "share of samples with the same largest output.",
        "",
        "| file | output | equal | largest difference | relative error | agreement |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["parity"]:
        lines += [_parity_row(row["file"], output) for output in row["outputs"]]
    lines += [
        "",
        "### Where the sparse path begins",
        "",
        "Float nets of 1 × 1 convolutions, one file with dense and one with sparse encoding of the "
        "same weights. The emulator's times are processor time: they stand for instructions, they "
        "are no latency, and only tell which kernel runs: what counts is the step. It is slower on "
        "zeros, which flatters the file that skips them. A ratio is that of sparse to dense on one "
        "machine; those of the two machines say nothing of each other.",
        "",
        "| zeros | file B, dense and sparse | emulator ms a run, dense | sparse | ratio "
        "| host ratio | relative error, emulator to host |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["cliff"]:
        dense, sparse = row["dense"], row["sparse"]
        lines.append(
            f"| {row['zeros']:.0%} | {dense['file_bytes']:,} and {sparse['file_bytes']:,} | "
            f"{_times(dense)} | {_times(sparse)} | {_ratio(row, 'emulated_cpu_ms')} | "
            f"{_ratio(row, 'host_cpu_ms')} | {sparse['outputs'][0]['relative_error']:.1g} |"
        )
    return "\n".join(lines) + "\n"


def _times(file):
    times = file["emulated_cpu_ms"]
    return f"{median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def _ratio(row, key):
    return f"{median(row['sparse'][key]) / median(row['dense'][key]):.2f}"


def _parity_row(label, output):
    steps = output["largest_steps"]
    largest = "" if steps is None else f"{steps:.0f} step{'s' * (steps != 1)}"
    return (
        f"| {label} | {output['name']}, {output['type']} | {output['equal_share']:.2%} | "
        f"{largest} | {output['relative_error']:.2g} | {output['agreement']:.1%} |"
    )
