"""What does each group of features tell Φ? Cross-validation on measured outcomes, by architecture.

tf-metacompress meta-train --out DIR …                      # measures the outcomes, see its card
python benchmarks/feature_ablation.py --zoo DIR/zoo         # about ten minutes on one core

Φ is fitted to the outcomes of four fifths of the architectures and judged on the others: how often
it puts two policies of a task in the right order, weighted by how much they differ, and the regret,
the loss under the policy it ranks first less that of the best one measured. Each row is Φ without
one group of features; the first rows are what Φ corrects. "Other families": Φ is judged on each
family by what it has learned from the others. Intervals: bootstrap over architectures.
"""

import argparse
import hashlib
import json
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from quality.scoring import interval

from tf_metacompress.atomic import write_json, write_text
from tf_metacompress.meta import MetaCompressor, damage_network
from tf_metacompress.meta.features import FEATURE_GROUPS, FEATURES, without_support
from tf_metacompress.meta.outcome_training import Regression, learn_from_outcomes
from tf_metacompress.meta.outcomes import load_outcomes
from tf_metacompress.progress import progress

_FOLDS = 5
_LARGEST_LOSS, _SMALLEST_GAP = 3.0, 0.01
_SUPPORT = "support data"


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder zoo of a meta-train run")
    results = Path(__file__).parent / "results/feature_ablation.json"
    parser.add_argument("--out", type=Path, default=results, help="JSON; .md is put beside it")
    return parser.parse_args()


def measured_last(zoo):
    """Outcome files of the measuring that was done last, for the models as they are now, by record.

    A folder keeps those of other numbers of tasks and policies, other features, longer trials, and
    of models that were trained anew.
    """
    current = {}
    for record in sorted(zoo.glob("train-*.json")):
        digest = hashlib.sha256(record.with_suffix(".keras").read_bytes()).hexdigest()[:12]
        current[f"{record.stem}-*-{digest}.npz"] = record
    files = {
        file: record
        for pattern, record in current.items()
        for file in (zoo / "outcomes").glob(pattern)
    }
    if not files:
        raise SystemExit(f"{zoo} has no outcomes of its models: run tf-metacompress meta-train.")
    by_numbers = defaultdict(list)
    for file in files:
        by_numbers[file.stem.split("-")[-2]].append(file)
    last = max(by_numbers, key=lambda numbers: max(f.stat().st_mtime for f in by_numbers[numbers]))
    left_out = sum(1 for _ in (zoo / "outcomes").glob("*.npz")) - len(by_numbers[last])
    if left_out:
        print(
            f"{left_out} files of outcomes measured otherwise are left out; read: {last}, which "
            "is tasks x policies x features x steps."
        )
    return {file: files[file] for file in sorted(by_numbers[last])}


def read_outcomes(zoo):
    """Outcomes of tasks in which one policy was better than another, by family and architecture."""
    found = defaultdict(list)
    for path, record in measured_last(zoo).items():
        entry = json.loads(record.read_text("utf-8"))["entry"]
        name = f"{entry['family']} {entry['architecture']}"
        found[name] += [each for each in load_outcomes(path) if each.informative]
    if len(found) < _FOLDS:
        raise SystemExit(f"{_FOLDS} architectures or more are needed, {zoo} has {len(found)}.")
    return found


def without(outcomes, group):
    """The same without a group of features: they are zero."""
    if group is None:
        return outcomes
    columns = [FEATURES.index(name) for name in FEATURE_GROUPS[group]]
    features = outcomes.features.copy()
    features[..., columns] = 0.0
    return replace(outcomes, features=features)


def judge(damage, losses):
    """Share of pairs in the right order, and regret; None for what no pair tells."""
    losses = np.minimum(np.nan_to_num(losses, nan=_LARGEST_LOSS), _LARGEST_LOSS)
    gap = losses[:, None] - losses[None]
    weight = np.abs(gap) * (np.abs(gap) > _SMALLEST_GAP)
    right = np.sign(gap) == np.sign(damage[:, None] - damage[None])
    order = float((weight * right).sum() / weight.sum()) if weight.sum() > 0.0 else None
    return order, float(losses[np.argmin(damage)] - losses.min())


def _predicted(phi, outcomes, reads_support):
    features = outcomes.features if reads_support else without_support(outcomes.features)
    prior = outcomes.informed if reads_support else outcomes.prior
    damage = damage_network.mean_damage(phi, tf.constant(features), tf.constant(prior))
    return tf.reduce_sum(damage, axis=-1).numpy()


def folds(names):
    """Names that are judged together: drawn by their seeds, so that families mix."""
    mixed = sorted(names, key=lambda name: name.split()[::-1])
    return [mixed[fold::_FOLDS] for fold in range(_FOLDS)]


def families(names):
    """Names that are judged together: those of each family."""
    found = defaultdict(list)
    for name in sorted(names):
        found[name.split()[0]].append(name)
    return list(found.values())


def cross_validate(by_architecture, group, parts):
    """Judgements of Φ on the names of each part, fitted to all others, without and with support."""
    names, start = sorted(by_architecture), MetaCompressor().phi
    found = {False: defaultdict(list), True: defaultdict(list)}
    for kept in parts(names):
        learned = [o for name in names if name not in kept for o in by_architecture[name]]
        phi = learn_from_outcomes(start, [without(o, group) for o in learned], Regression())
        for name in kept:
            for each in by_architecture[name]:
                for reads in found:
                    damage = _predicted(phi, without(each, group), reads)
                    found[reads][name].append(judge(damage, each.losses))
    return found


def _mean(judged, figure):
    """Mean over tasks of one figure, and its interval over architectures."""
    found = [(task[figure], name) for name, tasks in judged.items() for task in tasks]
    values, groups = zip(*[pair for pair in found if pair[0] is not None], strict=True)
    low, high = interval(values, groups)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def summarise(judged):
    """Both figures of one row."""
    return {"order": _mean(judged, 0), "regret": _mean(judged, 1)}


def _uncorrected(by_architecture, damage_of):
    judged = {
        name: [judge(damage_of(each).sum(axis=1), each.losses) for each in tasks]
        for name, tasks in by_architecture.items()
    }
    return summarise(judged)


def _told(feature):
    """What a feature of the support set says of the damage of each layer."""
    column = FEATURES.index(feature)
    return lambda outcomes: 10.0 ** outcomes.features[..., column].astype(float)


def measure(by_architecture):
    """All rows, by name."""
    rows = {
        "prior by the weights": _uncorrected(by_architecture, lambda o: o.prior),
        "empirical Fisher": _uncorrected(by_architecture, _told("log_fisher_damage")),
        "measured sensitivity": _uncorrected(by_architecture, _told("log_measured_damage")),
        "prior with support": _uncorrected(by_architecture, lambda o: o.informed),
    }
    apart = cross_validate(by_architecture, None, families)
    rows["Φ of other families, reads support"] = summarise(apart[True])
    rows["Φ of other families, by the weights"] = summarise(apart[False])
    for group in progress([None, *FEATURE_GROUPS], description="features", quiet=False):
        judged = cross_validate(by_architecture, group, folds)
        name = "Φ" if group is None else f"Φ without {group}"
        if group != _SUPPORT:
            rows[f"{name}, reads support"] = summarise(judged[True])
        rows[f"{name}, by the weights"] = summarise(judged[False])
    return rows


def markdown(found):
    """The table."""

    def cell(entry, factor, digits):
        low, high = (f"{factor * entry[key]:.{digits}f}" for key in ("low", "high"))
        return f"{factor * entry['mean']:.{digits}f} ({low} to {high})"

    lines = [
        f"{found['tasks']} tasks of {found['architectures']} architectures, {_FOLDS} folds.",
        "",
        "| judged by | pairs in the right order, % | regret of the first choice |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {cell(row['order'], 100, 1)} | {cell(row['regret'], 1, 3)} |"
        for name, row in found["rows"].items()
    ]
    return "\n".join(lines) + "\n"


def main():
    """Measures all rows, writes JSON and table."""
    arguments = _arguments()
    by_architecture = read_outcomes(arguments.zoo)
    found = {
        "architectures": len(by_architecture),
        "tasks": sum(map(len, by_architecture.values())),
        "rows": measure(by_architecture),
    }
    write_json(arguments.out, found)
    write_text(arguments.out.with_suffix(".md"), markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
