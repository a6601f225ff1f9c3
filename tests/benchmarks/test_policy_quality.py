"""The pure parts of the benchmark of policies: cases, scores, intervals, kept results, searches."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from benchmarks.quality import cases, methods, report, scoring, search, store
from tests.small_models import randomize
from tf_metacompress.anatomy import describe
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import Budget

SPECS = [
    cases.ModelSpec(family, place + 10 * (smallest == 0.10), seed, smallest)
    for seed in (0, 1)
    for smallest, count in ((0.03, 3), (0.10, 1))
    for family in "ab"
    for place in range(count)
]


def row(case, method, accuracy, ratio=0.1, model=None):
    return {
        "case": case,
        "method": method,
        "accuracy": accuracy,
        "drop": 0.9 - accuracy,
        "ratio": ratio,
        "model": model or case,
        "seconds": 2.0,
        "cpu_seconds": 1.0,
        "evaluations": 3,
        "gzip_bytes": 90,
        "limit_bytes": 100.0,
    }


def test_the_full_form_is_large_enough():
    found = cases.make_cases(cases.FULL, SPECS)
    assert len(found) == len({case.name for case in found}) == 56
    assert {case.spec.seed for case in found} == {0, 1}
    assert all(case.ratio >= case.spec.smallest for case in found)
    on = [case.device for case in found]
    assert on.count("android-arm64") == on.count("conv-int4") == 28


def test_searches_run_on_a_stratified_quarter():
    searched = [case for case in cases.make_cases(cases.FULL, SPECS) if case.searched]
    assert len({case.spec for case in searched}) == len(searched) == 16
    for key, count in ((lambda c: c.ratio, 4), (lambda c: c.device, 8), (lambda c: c.spec.seed, 8)):
        values = [key(case) for case in searched]
        assert {values.count(value) for value in values} == {count}


def test_wins_ties_and_gains():
    rows = [row("a", "x", 0.8), row("a", "y", 0.7), row("b", "x", 0.5), row("b", "y", 0.5)]
    rows += [row("c", "x", 0.2), row("c", "y", 0.6), row("d", "x", 0.9)]
    rows += [row("e", "x", 0.9), {"case": "e", "method": "y", "no_policy": "too small"}]
    found = scoring.compare(rows, "x", "y")
    assert found["cases"] == 3
    assert found["win_rate"]["mean"] == pytest.approx(0.5)
    assert found["gain"]["mean"] == pytest.approx((0.1 + 0.0 - 0.4) / 3)
    assert scoring.compare(rows, "x", "z") is None
    assert scoring.unfitted(rows) == {"y": 1}


def test_the_best_of_a_case_keeps_the_budget_and_costs_all():
    rows = [row("a", "x", 0.8), row("a", "y", 0.7), row("b", "x", 0.5), row("b", "y", 0.6)]
    rows += [{**row("a", "y", 0.9), "method": "z", "gzip_bytes": 120}, row("b", "other", 0.9)]
    found = scoring.best_of(rows, ["x", "y", "z"], "best")
    assert [(r["case"], r["method"], r["accuracy"]) for r in found] == [
        ("a", "best", 0.8),
        ("b", "best", 0.6),
    ]
    assert {(r["cpu_seconds"], r["evaluations"]) for r in found} == {(2.0, 6)}


def test_an_interval_of_single_cases_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    low, high = scoring.interval(values, np.arange(400))
    half = 1.96 * values.std() / 20.0
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)


def test_cases_of_one_model_count_once():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 8)
    low, high = scoring.interval(values, np.repeat(np.arange(20), 8))
    alone = scoring.interval(values[::8], np.arange(20))
    assert (low, high) == pytest.approx(alone)
    apart = scoring.interval(values, np.arange(160))
    assert high - low > 2.0 * (apart[1] - apart[0])


def test_few_models_have_no_interval():
    assert scoring.interval([0.1, 0.2], ["a", "b"]) == (None, None)
    assert scoring.interval([0.1, 0.1, 0.1], ["a", "b", "c"]) == (0.1, 0.1)


def test_means_are_taken_over_cases_that_all_measured():
    rows = [row("a", "x", 0.8), row("a", "y", 0.6), row("b", "x", 0.1)]
    rows += [row("c", "x", 0.7, 0.05), row("c", "y", 0.5, 0.05)]
    found = scoring.summarise(rows, ["x", "y"])
    assert found["cases"] == 2
    assert found["methods"]["x"]["drop"]["0.1"]["mean"] == pytest.approx(0.1)
    assert found["methods"]["y"]["drop_all"]["mean"] == pytest.approx(0.35)
    assert found["methods"]["y"]["budget_used"] == pytest.approx(0.9)
    assert found["methods"]["y"]["over_budget"] == 0


def test_a_case_is_hard_when_uniform_loses_three_points_or_cannot_fit():
    rows = [row("a", "uniform", 0.88), row("b", "uniform", 0.865), row("b", "x", 0.9)]
    rows.append({"case": "c", "method": "uniform", "no_policy": "too small"})
    assert scoring.hard_cases(rows) == {"b", "c"}


def test_rows_are_kept_whole_and_belong_to_one_phi(tmp_path):
    kept = store.Store(tmp_path)
    assert kept.find("a", "Φ adapted") is None
    kept.write("a", "Φ adapted", {"accuracy": 0.5}, "one")
    kept.write("a", "Φ zero-shot", {"accuracy": 0.4}, "one")
    assert kept.find("a", "Φ adapted", "one")["accuracy"] == 0.5
    assert kept.find("a", "Φ adapted", "two") is None
    assert kept.find("a", "Φ zero-shot", "one")["accuracy"] == 0.4
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["phi-adapted.json", "phi-zero-shot.json"]
    assert json.loads((tmp_path / "a/phi-adapted.json").read_text("utf-8"))["made_with"] == "one"


def test_other_settings_have_another_folder(tmp_path):
    folders = {
        store.run_folder(tmp_path, plan, data)
        for plan in (cases.FULL, cases.QUICK)
        for data in ("one", "two")
    }
    assert len(folders) == 4
    assert store.run_folder(tmp_path, cases.FULL, "one") in folders


@pytest.fixture(scope="module")
def space():
    inputs = keras.Input((12, 12, 2))
    x = keras.layers.Conv2D(24, 3, name="conv")(inputs)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Flatten()(x)
    model = randomize(keras.Model(inputs, keras.layers.Dense(6, name="head")(x)))
    return search.Space(model, Budget(size_ratio=0.2), cases.CONV_INT4), model


def test_searched_policies_use_the_budget_and_no_more(space):
    found, model = space
    generator = np.random.default_rng(0)
    for _ in range(10):
        offsets, bits = found.draw(generator)
        plans = found.policy(offsets, bits, "drawn").resolve(describe(model))
        sparsities, widths = [p.sparsity for p in plans], [p.weight_bits for p in plans]
        assert -0.02 < found.excess(sparsities, widths) <= 1e-6
        assert widths[1:] == [8, 8] and widths[0] == bits[0]


def test_a_policy_keeps_its_coordinates(space):
    found, model = space
    policy = found.policy([0.5, 1.0, -0.5], [4, 8, 8], "one")
    again = found.policy(*found.coordinates(policy), "one")
    for one, other in zip(
        policy.resolve(describe(model)), again.resolve(describe(model)), strict=True
    ):
        assert one.weight_bits == other.weight_bits
        assert one.sparsity == pytest.approx(other.sparsity, abs=0.02)


def test_a_search_finds_what_it_is_asked_for(space):
    found, _ = space

    def evaluate(policy):
        return policy.rules[1].sparsity + (policy.rules[0].weight_bits == 4)

    offsets, bits = search.random_search(found, evaluate, 25, seed=0)
    best = evaluate(found.policy(offsets, bits, "best"))
    drawn = evaluate(search.random_policy(found, seed=0))
    assert best <= drawn and bits[0] == 8


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
@pytest.mark.filterwarnings("ignore")
def test_optuna_is_never_worse_than_where_it_starts(space):
    found, _ = space
    start = found.policy([0.0, 3.0, 0.0], [8, 8, 8], "start")
    counted = []

    def evaluate(policy):
        counted.append(policy.rules[1].sparsity + (policy.rules[0].weight_bits == 4))
        return counted[-1]

    offsets, bits = search.optuna_search(found, evaluate, 12, 0, [start])
    assert len(counted) <= 12
    best = found.policy(offsets, bits, "best")
    assert best.rules[1].sparsity + (best.rules[0].weight_bits == 4) <= counted[0] + 1e-9


def test_a_budget_out_of_reach_is_an_error(space):
    _, model = space
    small = search.Space(model, Budget(size_bytes=600.0), cases.CONV_INT4)
    with pytest.raises(InfeasibleBudgetError):
        search.random_policy(small, 0)
    with pytest.raises(InfeasibleBudgetError):
        search.random_search(small, lambda policy: 0.0, 2, 0)


def test_methods_of_a_case():
    one, other = (cases.Case(SPECS[0], 0.1, "conv-int4", searched) for searched in (True, False))
    everything = methods.methods_of(one, cases.FULL, with_maml=True, foreign=True)
    assert everything == list(methods.METHODS)
    plain = methods.methods_of(other, cases.FULL, with_maml=False, foreign=False)
    assert set(everything) - set(plain) == {
        *methods.ON_A_QUARTER,
        methods.WITH_MAML,
        methods.FOREIGN,
    }
    assert set(cases.QUICK.methods) < set(methods.METHODS)
    quick = methods.methods_of(one, cases.QUICK, with_maml=True, foreign=False)
    assert quick == [name for name in methods.METHODS if name in cases.QUICK.methods]


def test_the_report_shows_every_table(tmp_path):
    rows = []
    for place in range(4):
        for ratio in (0.1, 0.05):
            for name, accuracy in (("uniform", 0.5), ("LAMP", 0.7), (methods.INFORMED, 0.8)):
                one = row(f"{place}-{ratio}", name, accuracy + 0.01 * place, ratio, f"m{place}")
                rows.append(one | {"searched": ratio == 0.1, "device": "conv-int4"})
            foreign = rows[-1] | {"method": methods.FOREIGN, "accuracy": 0.6, "drop": 0.3}
            rows.append(foreign | {"budget_used_as_it_was": 1.2})
    rows.append(rows[0] | {"method": "random search"})  # one case of four: not in the table yet
    found = report.build(rows, cases.QUICK, {"used": "a test", "sha256": "0"})
    assert found["num_cases"] == found["num_hard"] == 8
    text = report.markdown(found)
    for words in ("All cases (8", "Hard cases only (8", "Cases with searches (4", "used on"):
        assert words in text
    assert "random search |" not in text.split("against each")[0]
    assert text.count("| best of all of them, known afterwards | ") == 2
    assert "| LAMP | 8 | 100.0 (100.0 to 100.0) | +10.0 (+10.0 to +10.0) |" in text
    report.publish(found, tmp_path / "quality.json")
    names = {"quality.json", "quality.md", "quality_size.png", "quality_cost.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert json.loads((tmp_path / "quality.json").read_text("utf-8"))["num_cases"] == 8
