"""The rows as Markdown, JSON and two plots."""

import os
import platform
from dataclasses import asdict

import numpy as np

from tf_metacompress.atomic import write_json, write_text

from .methods import ADAPTED, FOREIGN, INFORMED, METHODS, ON_A_QUARTER, ZERO_SHOT
from .scoring import best_of, by_case, compare, hard_cases, mean_of, summarise, unfitted

_MOST = 0.9
_BEST = "best of all of them, known afterwards"


def build(rows, plan, phi):
    """Everything that the table and the plots show.

    Args:
        rows: The rows.
        plan: How much of everything was done.
        phi: What Φ was.

    Returns:
        JSON data.
    """
    present = [name for name in METHODS if any(row["method"] == name for row in rows)]
    everywhere = _on_most(rows, [name for name in present if name not in ON_A_QUARTER])
    hard = hard_cases(rows)
    searched = [row for row in rows if row["searched"]]
    own = [name for name in present if name != FOREIGN]
    judged = rows + best_of(rows, own, _BEST)
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "plan": asdict(plan),
        "phi": phi,
        "num_cases": len({row["case"] for row in rows}),
        "num_hard": len(hard),
        "no_policy_fits": unfitted(rows),
        "all": summarise(judged, [*everywhere, _BEST]),
        "hard": summarise([row for row in judged if row["case"] in hard], [*everywhere, _BEST]),
        "searched": summarise(searched, _on_most(searched, own)),
        "devices": devices_table(rows),
        "comparisons": {
            ours: {
                other: compare(rows, ours, other)
                for other in present
                if other != ours and compare(rows, ours, other)
            }
            for ours in (ADAPTED, INFORMED, ZERO_SHOT)
            if ours in present
        },
        "rows": [{k: v for k, v in row.items() if k != "plans"} for row in rows],
    }


def _on_most(rows, names):
    """Those methods that were measured on most of the cases that any was measured on."""
    counts = {name: sum(row["method"] == name for row in rows) for name in names}
    most = _MOST * max(counts.values(), default=0)
    return [name for name, count in counts.items() if count and count >= most]


def devices_table(rows):
    """What a policy made for the other device costs and loses, by device; empty if not measured."""
    found = {}
    for device in sorted({row["device"] for row in rows if row["method"] == FOREIGN}):
        here = [row for row in rows if row["device"] == device]
        foreign = [row for row in here if "accuracy" in row and row["method"] == FOREIGN]
        own = compare(here, INFORMED, FOREIGN)
        if foreign and own:
            found[device] = {
                "budget_used_as_it_was": mean_of(foreign, "budget_used_as_it_was"),
                "own_against_it": own,
            }
    return found


def markdown(found):
    """The tables.

    Args:
        found: What `build` gave.

    Returns:
        Markdown.
    """
    parts = [
        f"{found['num_cases']} cases, uniform loses 3 points or more on {found['num_hard']}. "
        f"Φ: {found['phi']['used']}."
    ]
    for key, title in (
        ("all", "All cases"),
        ("hard", "Hard cases only"),
        ("searched", "Cases with searches"),
    ):
        part = found[key]
        if part["cases"]:
            parts.append(f"{title} ({part['cases']} that every method fits):\n\n{_drops(part)}")
    parts += [
        f"{ours} against each:\n\n{_comparisons(table)}"
        for ours, table in found["comparisons"].items()
    ]
    if found["devices"]:
        parts.append(f"Policies made for the other device:\n\n{_devices(found['devices'])}")
    if found["no_policy_fits"]:
        misses = ", ".join(f"{name} {count}" for name, count in found["no_policy_fits"].items())
        parts.append(f"Cases for which a method found no policy: {misses}.")
    return "\n\n".join(parts) + "\n"


def _points(entry, signed=False):
    if entry is None:
        return ""
    sign = "+" if signed else ""
    text = f"{100 * entry['mean']:{sign}.1f}"
    if entry["low"] is None:
        return text
    return f"{text} ({100 * entry['low']:{sign}.1f} to {100 * entry['high']:{sign}.1f})"


def _drops(part):
    ratios = list(next(iter(part["methods"].values()))["drop"])
    head = ["method", *(f"drop at {float(r):.0%}" for r in ratios), "mean drop"]
    head += ["processor s", "evaluations", "budget used", "over budget"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, entry in part["methods"].items():
        cells = [name, *(_points(entry["drop"][r]) for r in ratios), _points(entry["drop_all"])]
        cells += [f"{entry['cpu_seconds']:.1f}", f"{entry['evaluations']:.1f}"]
        cells += [f"{entry['budget_used']:.0%}", str(entry["over_budget"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _comparisons(table):
    lines = ["| against | cases | wins, % | gain, points |", "|---|---|---|---|"]
    for other, entry in table.items():
        cells = [other, str(entry["cases"]), _points(entry["win_rate"])]
        lines.append(f"| {' | '.join([*cells, _points(entry['gain'], signed=True)])} |")
    return "\n".join(lines)


def _devices(table):
    lines = [
        "| used on | budget it takes as it was, % | its own wins, % | its own gains, points |",
        "|---|---|---|---|",
    ]
    for device, entry in table.items():
        own = entry["own_against_it"]
        cells = [device, _points(entry["budget_used_as_it_was"]), _points(own["win_rate"])]
        lines.append(f"| {' | '.join([*cells, _points(own['gain'], signed=True)])} |")
    return "\n".join(lines)


def publish(found, out):
    """Writes the JSON, the Markdown and the plots beside each other.

    Args:
        found: What `build` gave.
        out: The JSON file; the others have its stem.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, found)
    write_text(out.with_suffix(".md"), markdown(found))
    plot_sizes(found, out.with_name(f"{out.stem}_size.png"))
    plot_costs(found, out.with_name(f"{out.stem}_cost.png"))


def _axes():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    return pyplot, figure, axes


def _style(name):
    return {"linewidth": 2.5, "zorder": 3} if name in (ADAPTED, INFORMED, ZERO_SHOT) else {}


def _plotted(part):
    return [name for name in part["methods"] if name != _BEST]


def plot_sizes(found, path):
    """Mean accuracy against the mean size of the exported files, a line a method."""
    pyplot, figure, axes = _axes()
    shared = {
        case
        for case, methods in by_case(found["rows"]).items()
        if all(name in methods for name in _plotted(found["all"]))
    }
    for name in _plotted(found["all"]):
        own = [r for r in found["rows"] if r["method"] == name and r["case"] in shared]
        points = []
        for ratio in sorted({row["ratio"] for row in own}):
            at = [row for row in own if row["ratio"] == ratio]
            size = np.mean([row["ratio"] * row["gzip_bytes"] / row["limit_bytes"] for row in at])
            points.append((100 * size, 100 * np.mean([row["accuracy"] for row in at])))
        axes.plot(*zip(*points, strict=True), marker="o", label=name, **_style(name))
    axes.set_xscale("log")
    axes.set_xlabel("size of the exported file after gzip, % of float32")
    axes.set_ylabel("accuracy under LiteRT, %")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_costs(found, path):
    """Mean drop against processor seconds for the policy, on the cases with searches."""
    part = found["searched"] if found["searched"]["cases"] else found["all"]
    pyplot, figure, axes = _axes()
    for name in _plotted(part):
        entry = part["methods"][name]
        x, y = max(entry["cpu_seconds"], 0.01), 100 * entry["drop_all"]["mean"]
        axes.plot([x], [y], marker="o")
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("processor seconds to make the policy")
    axes.set_ylabel("mean drop of accuracy, points")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
