"""One picture of a run: the policy layer by layer, and accuracy against size."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tf_metacompress.atomic import atomic_path
from tf_metacompress.pipeline.candidates import Row
from tf_metacompress.policy import LayerInfo, Policy

_KIB = 1024
_MARKERS = "os^vD<>Pp*X"
_COLOURS = {4: "tab:orange", 8: "tab:blue"}

# Says on the first run of a machine that it builds a cache.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def draw_policy(
    path: Path, policy: Policy, infos: Sequence[LayerInfo], rows: Sequence[Row], title: str
) -> None:
    """Draws sparsity and bits of each layer, and accuracy against size of every row.

    Args:
        path: PNG file to write, whole or not at all.
        policy: The policy to show.
        infos: Compressible layers of its model.
        rows: Rows of the table.
        title: Title of the picture.
    """
    height = max(5.0, 1.5 + 0.22 * len(infos))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_layers(left, policy, infos)
    _draw_rows(right, rows)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_layers(axes: Any, policy: Policy, infos: Sequence[LayerInfo]) -> None:
    plans = policy.resolve(infos)
    positions = range(len(plans))
    axes.barh(
        positions,
        [plan.sparsity for plan in plans],
        color=[_COLOURS.get(plan.weight_bits, "tab:gray") for plan in plans],
    )
    for position, plan in zip(positions, plans, strict=True):
        axes.text(1.02, position, f"{plan.weight_bits} bit", va="center", fontsize=8)
    axes.set_yticks(positions, [plan.layer for plan in plans], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.15)
    axes.set_xlabel("sparsity")
    axes.set_title(f"policy: {policy.name}")


def _draw_rows(axes: Any, rows: Sequence[Row]) -> None:
    for row, marker in zip(rows, itertools.cycle(_MARKERS), strict=False):
        axes.plot(row.gzip_bytes / _KIB, row.accuracy, marker, label=row.name, alpha=0.7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("gzip KiB of the .tflite (log scale)")
    axes.set_ylabel("test accuracy under LiteRT")
    axes.set_title("accuracy against size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
