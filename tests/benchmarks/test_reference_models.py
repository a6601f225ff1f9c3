"""The small parts of the benchmark of reference models; not its training."""

import numpy as np
import pytest

from benchmarks.reference import augment, measure, methods, recipes, report, sources, trials
from tf_metacompress import Policy, Rule

pytestmark = pytest.mark.slow


def make_row(name, size, choice, accuracy):
    return {
        "name": name,
        "gzip_bytes": size,
        "file_bytes": 2 * size,
        "width": 1.0,
        "choice_accuracy": choice,
        "test_accuracy": accuracy,
        "accuracy": accuracy,
    }


def make_part(rows):
    reference = {**make_row("", 100, 0.9, 0.9), "float_accuracy": 0.91}
    return {"name": "net", "target": 0.85, "caveat": "Few.", "reference": reference, "rows": rows}


def test_folds_test_every_example_once_and_never_train_on_it():
    x, y = np.arange(60.0), np.repeat([0, 1, 2], 20)
    found = list(sources.folds(x, y, 5, 6))
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test[0] for f in found])), x)
    for fold in found:
        parts = [part[0] for part in (fold.train, fold.choice, fold.test)]
        assert [len(part) for part in parts] == [42, 6, 12]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), x)
        np.testing.assert_array_equal(np.bincount(fold.test[1]), [4, 4, 4])
        np.testing.assert_array_equal(fold.train[1], y[fold.train[0].astype(int)])


def test_shifted_repeats_the_border():
    x = np.arange(2 * 4 * 3 * 1.0).reshape(2, 4, 3, 1)
    found = augment.shifted(x, np.array([[1, 0], [-2, 1]]))
    np.testing.assert_array_equal(found[0], x[0][[1, 2, 3, 3]])
    np.testing.assert_array_equal(found[1], x[1][[0, 0, 0, 1]][:, [1, 2, 2]])


def test_blended_mixes_inputs_and_labels_alike():
    x, y = np.array([[0.0], [10.0]]), np.eye(2)
    inputs, labels = augment.blended(x, y, np.array([1, 0]), np.array([0.75, 1.0]))
    np.testing.assert_allclose(inputs, [[2.5], [10.0]])
    np.testing.assert_allclose(labels, [[0.75, 0.25], [0.0, 1.0]])


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_batches_are_reproducible_and_hold_labels_that_sum_to_one(name):
    x = np.random.default_rng(0).normal(size=(260, 6, 5, 1)).astype("float32")
    y = np.arange(260) % 4
    first, again = (augment.Augmented(x, y, 4, recipes.RECIPES[name], seed=3) for _ in range(2))
    assert len(first) == 260 // recipes.RECIPES[name].batch_size
    inputs, labels = first[0]
    np.testing.assert_array_equal(inputs, again[0][0])
    assert inputs.dtype == labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-6)
    assert not np.array_equal(inputs, x[: len(inputs)])
    assert np.isin(inputs, x).all() == (recipes.RECIPES[name].blend == 0.0)


def test_the_smallest_keeps_the_target_on_the_examples_to_choose_by():
    rows = [make_row("a", 30, 0.9, 0.9), make_row("b", 20, 0.86, 0.84)]
    rows.append(make_row("c", 10, 0.84, 0.86))
    assert report.smallest(rows, 0.85)["name"] == "b"
    assert report.smallest(rows, 0.95) is None


def test_the_table_says_who_is_over_the_limit_and_what_is_smallest():
    rows = [{**make_row("a", 30, 0.9, 0.9), "limit_bytes": 28}, make_row("b", 20, 0.8, 0.8)]
    text = report.markdown(report.build([make_part(rows)]))
    assert "| a (over its limit) | 100% | 30 | 60 | 90.00% |" in text
    assert "Smallest after gzip, chosen on the examples to choose by: a: 30 B, 30%" in text
    assert text.index("| b |") < text.index("| a (over")
    none = report.markdown(report.build([make_part(rows[1:])]))
    assert "No row keeps the target" in none


def test_the_table_marks_rows_written_with_long_names():
    rows = [make_row("new", 30, 0.9, 0.9), make_row("old", 20, 0.9, 0.9)]
    rows = [{**row, "method": "LAMP, 4 bits"} for row in rows]
    text = report.markdown(report.build([make_part([{**rows[0], "slim": True}, rows[1]])]))
    assert "| new | " in text and "| old† | " in text and "Rows with † hold" in text
    text = report.markdown(report.build([make_part([{**rows[0], "slim": True}])]))
    assert "†" not in text


def test_only_weights_that_become_integers_get_another_quantizer():
    policy = Policy([Rule("a", weight_bits=4), Rule("b", sparsity=0.5)])
    found = measure.rounded_by("short_scale", policy)
    assert [rule.quantizer for rule in found.rules] == ["short_scale", "symmetric"]
    assert [rule.weight_bits for rule in found.rules] == [4, 32]


def test_trials_have_names_of_their_own_and_known_methods():
    names = [(trial.reference, trial.name) for trial in trials.TRIALS]
    assert len(set(names)) == len(names)
    assert {trial.method for trial in trials.TRIALS} <= set(methods.METHODS)
    assert {name for name, _ in names} == set(recipes.RECIPES)
    assert {trial.recipe.packed for trial in trials.TRIALS} == {"dense", "all"}
