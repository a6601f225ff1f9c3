"""The picture of an explanation: damages with their uncertainty, and what drove them."""

import logging
from typing import Any

from tf_metacompress.atomic import PathLike, atomic_path

_HEIGHT = 0.38
_NUM_DRIVERS = 6

# Says on the first run of a machine that it builds a cache.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def draw_explanation(path: PathLike, explanation: Any) -> None:
    """Draws choice and runner-up of each layer, and the features behind the choice.

    Args:
        path: PNG file to write, whole or not at all.
        explanation: An `Explanation`.
    """
    from matplotlib.figure import Figure  # half a second that only a picture needs

    layers = explanation.layers
    height = max(4.0, 1.5 + 0.3 * len(layers))
    figure = Figure(figsize=(13, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_damages(left, layers)
    _draw_drivers(right, layers)
    figure.suptitle(f"{explanation.policy} on {explanation.device}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _draw_damages(axes: Any, layers: Any) -> None:
    for shift, name, colour in ((-0.5, "choice", "tab:blue"), (0.5, "runner_up", "tab:gray")):
        options = [getattr(layer, name) for layer in layers]
        axes.barh(
            [place + shift * _HEIGHT for place in range(len(layers))],
            [option.damage if option else 0.0 for option in options],
            xerr=[option.deviation if option else 0.0 for option in options],
            height=_HEIGHT,
            color=colour,
            label=name.replace("_", "-"),
        )
    labels = [f"{layer.layer}\n{layer.choice}" for layer in layers]
    axes.set_yticks(range(len(layers)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("predicted damage, ± one standard deviation")
    axes.set_title("choice and runner-up")
    axes.legend(fontsize=8)


def _draw_drivers(axes: Any, layers: Any) -> None:
    total: dict[str, float] = {}
    for layer in layers:
        for name, value in layer.drivers.items():
            total[name] = total.get(name, 0.0) + abs(value)
    names = sorted(total, key=total.get, reverse=True)[:_NUM_DRIVERS]
    right, left = [0.0] * len(layers), [0.0] * len(layers)
    for number, name in enumerate(names):
        values = [layer.drivers[name] for layer in layers]
        starts = [r if v > 0 else s for r, s, v in zip(right, left, values, strict=True)]
        colour = f"C{number}"
        axes.barh(range(len(layers)), values, left=starts, height=0.7, color=colour, label=name)
        right = [r + max(v, 0.0) for r, v in zip(right, values, strict=True)]
        left = [s + min(v, 0.0) for s, v in zip(left, values, strict=True)]
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(layers)), [layer.layer for layer in layers], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("change of log damage of the choice")
    axes.set_title("what moved Φ away from its prior")
    if names:
        axes.legend(fontsize=8)
