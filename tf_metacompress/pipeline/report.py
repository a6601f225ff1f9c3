"""The closing table, its JSON, and one picture."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from tf_metacompress.atomic import atomic_path, write_json  # noqa: E402
from tf_metacompress.pipeline.candidates import Row  # noqa: E402
from tf_metacompress.policy import LayerInfo, Policy  # noqa: E402

SCHEMA_VERSION = 1
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer", "numpy", "scipy")
_KIB = 1024


def provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Says what made a report: settings, versions, machine.

    Args:
        settings: Settings of the run.

    Returns:
        JSON data.
    """
    return {
        "settings": dict(settings),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def write_report(
    path: Path, rows: Sequence[Row], latency: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Writes the table, the timings and their provenance as JSON.

    Args:
        path: File to write.
        rows: Rows of the table.
        latency: The comparison of their files.
        settings: Settings of the run.
    """
    ratios = latency_ratio_column(latency)
    table = [
        {**asdict(row), "path": Path(row.path).name, "p50_ratio": ratio}
        for row, ratio in zip(rows, ratios, strict=True)
    ]
    report = {
        "schema_version": SCHEMA_VERSION,
        "table": table,
        "latency": dict(latency),
        "provenance": provenance(settings),
    }
    write_json(path, report)


def latency_ratio_column(latency: Mapping[str, Any]) -> list[float]:
    """Median time of each file as a ratio to the first."""
    return [float(entry["ratio"]) for entry in latency["files"]]


def print_table(rows: Sequence[Row], latency: Mapping[str, Any], title: str) -> None:
    """Prints the closing table.

    Args:
        rows: Rows of the table, float32 first.
        latency: The comparison of their files.
        title: Line above the table.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    table.add_column("policy", no_wrap=True)
    for heading in (
        "accuracy",
        "file KiB",
        "gzip KiB",
        "ratio",
        "zeros",
        "bits",
        "p50 ratio",
        "parity",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, ratio in zip(rows, latency_ratio_column(latency), strict=True):
        table.add_row(
            row.name,
            f"{row.accuracy:.4f}",
            f"{row.file_bytes / _KIB:.1f}",
            f"{row.gzip_bytes / _KIB:.1f}",
            f"{row.gzip_bytes / rows[0].gzip_bytes:.3f}",
            f"{row.sparsity:.3f}",
            f"{row.mean_weight_bits:.1f}",
            f"{ratio:.2f}",
            f"{row.parity_error:.2g}" + ("" if row.parity_passed else " !"),
        )
    Console(width=100, highlight=False).print(table)


def draw_policy(
    path: Path, policy: Policy, infos: Sequence[LayerInfo], rows: Sequence[Row], title: str
) -> None:
    """Draws sparsity and bits of each layer, and accuracy against size of every row.

    Args:
        path: PNG file to write.
        policy: The policy to show.
        infos: Compressible layers of its model.
        rows: Rows of the table.
        title: Title of the picture.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    _draw_layers(left, policy, infos)
    _draw_rows(right, rows)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def _draw_layers(axes: Any, policy: Policy, infos: Sequence[LayerInfo]) -> None:
    plans = policy.resolve(infos)
    colours = {4: "tab:orange", 8: "tab:blue"}
    positions = range(len(plans))
    axes.barh(
        positions,
        [plan.sparsity for plan in plans],
        color=[colours.get(plan.weight_bits, "tab:gray") for plan in plans],
    )
    for position, plan in zip(positions, plans, strict=True):
        axes.text(1.02, position, f"{plan.weight_bits} bit", va="center", fontsize=8)
    axes.set_yticks(positions, [plan.layer for plan in plans], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.15)
    axes.set_xlabel("sparsity")
    axes.set_title(f"policy: {policy.name}")


def _draw_rows(axes: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        axes.plot(row.gzip_bytes / _KIB, row.accuracy, "o", label=row.name)
    axes.set_xscale("log")
    axes.set_xlabel("gzip KiB of the .tflite (log scale)")
    axes.set_ylabel("test accuracy under LiteRT")
    axes.set_title("accuracy against size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
