"""Mean drops, win rates and paired intervals from the rows; NumPy and SciPy only."""

import numpy as np
from scipy import stats

HARD_DROP = 0.03
_TOLERANCE = 1.01
_RESAMPLES = 4000


def by_case(rows):
    """The rows that have an accuracy, as case to method to row."""
    found = {}
    for row in rows:
        if "accuracy" in row:
            found.setdefault(row["case"], {})[row["method"]] = row
    return found


def is_within(row):
    """Whether the exported file keeps the budget, but for a hundredth; only such rows count."""
    return row["gzip_bytes"] <= _TOLERANCE * row["limit_bytes"]


def _is_judged(row, method):
    return row["method"] == method and "accuracy" in row


def hard_cases(rows, baseline="uniform"):
    """Names of the cases where uniform loses at least three points, or cannot fit at all."""
    return {
        row["case"]
        for row in rows
        if row["method"] == baseline and row.get("drop", np.inf) >= HARD_DROP
    }


def interval(values, groups, seed=0):
    """Bootstrap interval (95 %) of a mean whose values come in groups that move together.

    Cases of one model share the model, so whole models are drawn: `scipy.stats.bootstrap` on the
    sum and the count of each group.

    Args:
        values: Numbers.
        groups: Name of the group of each.
        seed: Seed of the resamples.

    Returns:
        Low and high; (None, None) for fewer than three groups.
    """
    values, groups = np.asarray(values, float), np.asarray(groups)
    names = np.unique(groups)
    if len(names) < 3:
        return None, None
    sums = np.array([values[groups == name].sum() for name in names])
    counts = np.array([np.sum(groups == name) for name in names])
    if np.ptp(values) == 0.0:
        return float(values[0]), float(values[0])

    def mean(sums, counts, axis=-1):
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    result = stats.bootstrap(
        (sums, counts),
        mean,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(result.low), float(result.high)


def mean_of(rows, key):
    """Mean, interval over models, and count of one number of some rows; None without rows."""
    if not rows:
        return None
    values = [row[key] for row in rows]
    low, high = interval(values, [row["model"] for row in rows])
    return {"mean": float(np.mean(values)), "low": low, "high": high, "count": len(values)}


def best_of(rows, methods, name):
    """The best policy of each case, known only afterwards: what no choice among them can beat.

    Args:
        rows: The rows.
        methods: Names of the methods to choose among.
        name: What to call the choice.

    Returns:
        One row a case, with the costs of all of them summed.
    """
    found = []
    for judged in by_case(rows).values():
        fitting = [row for row in judged.values() if row["method"] in methods and is_within(row)]
        if fitting:
            costs = {
                key: sum(row[key] for row in fitting)
                for key in ("seconds", "cpu_seconds", "evaluations")
            }
            best = max(fitting, key=lambda row: row["accuracy"])
            found.append({**best, **costs, "method": name})
    return found


def compare(rows, first, second):
    """Compares two methods on the cases that both were measured on.

    Args:
        rows: The rows.
        first: Name of a method.
        second: Name of another.

    Returns:
        Win rate of the first (a tie is half a win), and its mean gain in accuracy, each with an
        interval; None when they share no case.
    """
    pairs = [
        (methods[first], methods[second])
        for methods in by_case(rows).values()
        if all(name in methods and is_within(methods[name]) for name in (first, second))
    ]
    if not pairs:
        return None
    gains = [one["accuracy"] - other["accuracy"] for one, other in pairs]
    models = [one["model"] for one, _ in pairs]
    wins = [0.5 * (np.sign(gain) + 1.0) for gain in gains]
    found = {"cases": len(pairs)}
    for name, values in (("win_rate", wins), ("gain", gains)):
        low, high = interval(values, models)
        found[name] = {"mean": float(np.mean(values)), "low": low, "high": high}
    return found


def summarise(rows, methods):
    """Drops by ratio, cost and budget use of each method, on cases where all kept the budget.

    Args:
        rows: The rows.
        methods: Names of the methods to put beside each other.

    Returns:
        Case count, and for each method its figures.
    """
    shared = {
        case
        for case, found in by_case(rows).items()
        if all(name in found and is_within(found[name]) for name in methods)
    }
    ratios = sorted({row["ratio"] for row in rows}, reverse=True)
    found = {}
    for name in methods:
        own = [row for row in rows if row["method"] == name and row["case"] in shared]
        if not own:
            continue
        found[name] = {
            "drop": {
                str(ratio): mean_of([row for row in own if row["ratio"] == ratio], "drop")
                for ratio in ratios
            },
            "drop_all": mean_of(own, "drop"),
            "seconds": float(np.mean([row["seconds"] for row in own])),
            "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in own])),
            "evaluations": float(np.mean([row["evaluations"] for row in own])),
            "budget_used": float(np.mean([r["gzip_bytes"] / r["limit_bytes"] for r in own])),
            "over_budget": int(sum(not is_within(row) for row in rows if _is_judged(row, name))),
        }
    return {"cases": len(shared), "methods": found}


def unfitted(rows):
    """How many cases each method found no policy for."""
    found = {}
    for row in rows:
        if "no_policy" in row:
            found[row["method"]] = found.get(row["method"], 0) + 1
    return found
