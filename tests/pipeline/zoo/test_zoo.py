"""The zoo on disk: trained once, going on after a kill, its tasks within the rules."""

import json
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.pipeline import Dataset, load_dataset
from tf_metacompress.pipeline.zoo import (
    META_TEST_RATIOS,
    Measuring,
    Record,
    Zoo,
    build,
    measure_zoo,
    trainer,
    workers,
    zoo,
)
from tf_metacompress.pipeline.zoo.task_draws import draw_tasks, random_device
from tf_metacompress.pipeline.zoo.trainer import least_accuracy
from tf_metacompress.policy import DEVICES


@pytest.fixture(scope="module")
def digits():
    return {"digits": load_dataset("digits")}


@pytest.fixture
def trained(monkeypatch):
    """Names of the models trained, each in no time: one dense layer, at a made-up accuracy."""
    calls = []

    def pretend(entry, shares, data, train_steps, num_threads):
        calls.append(entry.name)
        shape, classes = shares.train[0].shape[1:], shares.num_classes
        model = keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes, name="head")]
        )
        record = Record(
            entry=entry,
            data=data,
            train_steps=train_steps,
            accuracy=0.9 if data.startswith("digits") else 0.1,
            least_accuracy=0.3,
            num_params=model.count_params(),
            macs=1,
            seconds=0.5,
        )
        return trainer.stored(model), record

    monkeypatch.setattr(zoo, "train_entry", pretend)
    return calls


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_models_are_trained_once_and_what_a_killed_run_left_is_used(tmp_path, digits, trained):
    made = Zoo(tmp_path, num_models=2, sources=digits, train_steps=40)
    first = made.train("train", quiet=True)
    assert trained == [record.entry.name for record in first]
    before = files(tmp_path)
    assert made.train("train", quiet=True) == first and len(trained) == 2
    lost, half = made.entries("train")
    (tmp_path / f"{lost.name}.json").unlink()
    (tmp_path / f"{half.name}.json").write_text('{"entry": {')
    (tmp_path / ".x.0123456789ab.tmp.keras").write_bytes(b"cut")
    again = Zoo(tmp_path, num_models=2, sources=digits, train_steps=40)
    assert [r.accuracy for r in again.train("train", quiet=True)] == [r.accuracy for r in first]
    assert len(trained) == 4 and list(files(tmp_path)) == list(before)


@pytest.mark.slow
def test_a_model_is_what_its_record_says(tmp_path, digits, monkeypatch):
    family = "tf_metacompress.pipeline.zoo.recipes.families_of"
    monkeypatch.setattr(family, lambda split: ("mlp",))
    made = Zoo(tmp_path, num_models=1, sources=digits, train_steps=80)
    (record,) = made.train("train", quiet=True)
    model, given = made.model(record.entry), made.shares(record.entry)
    predicted = np.argmax(model.predict(given.query[0], verbose=0), axis=-1)
    assert np.mean(predicted == given.query[1]) == pytest.approx(record.accuracy)
    assert record.learned and record.num_params == model.count_params()
    stored = json.loads((tmp_path / f"{record.entry.name}.json").read_text())
    assert stored["learned"] and stored["data"] == digits["digits"].fingerprint()


def test_other_settings_or_data_train_again(tmp_path, digits, trained):
    Zoo(tmp_path, num_models=1, sources=digits, train_steps=2).train("train", quiet=True)
    Zoo(tmp_path, num_models=1, sources=digits, train_steps=3).train("train", quiet=True)
    x, y = digits["digits"].train
    other = {"digits": Dataset("digits", (1.0 - x, y), digits["digits"].test)}
    Zoo(tmp_path, num_models=1, sources=other, train_steps=3).train("train", quiet=True)
    assert len(trained) == 3


def test_what_does_not_learn_is_recorded_and_left_out(tmp_path, trained):
    x = np.zeros((40, 8, 8, 1), "float32")
    nothing = {"blank": Dataset("blank", (x, np.arange(40) % 4), (x, np.arange(40) % 4))}
    made = Zoo(tmp_path, num_models=1, sources=nothing, train_steps=2)
    with pytest.raises(InvalidArgumentError, match="No model of the train split learned"):
        made.tasks("train")
    assert not made.record(made.entries("train")[0]).learned


def test_without_data_to_judge_on_there_are_no_models_to_judge(tmp_path, digits):
    with pytest.raises(InvalidArgumentError, match="no data of the test split"):
        Zoo(tmp_path, sources=digits).tasks("test")
    with pytest.raises(InvalidArgumentError, match="not trained yet"):
        Zoo(tmp_path, sources=digits).model(Zoo(tmp_path, sources=digits).entries("train")[0])


def shares_of(shape):
    x, y = np.zeros((8, *shape), "float32"), np.arange(8) % 4
    return SimpleNamespace(support=(x, y), query=(x, y))


def entry_of(split):
    return SimpleNamespace(split=split, seed=11, name="one")


def test_tasks_to_train_on_can_be_met_and_keep_away_from_the_ratios_to_judge_on():
    model = build("plain", (8, 8, 1), 4, 4)
    tasks = draw_tasks(entry_of("train"), model, shares_of((8, 8, 1)), 6)
    again = draw_tasks(entry_of("train"), model, shares_of((8, 8, 1)), 6)
    assert [t.name for t in tasks] == [t.name for t in again] and len(tasks) == 6
    for task in tasks:
        ratio = task.budget.size_ratio
        assert all(abs(ratio / other - 1) > 0.02 for other in META_TEST_RATIOS) and ratio <= 0.5
    tightest = min(tasks, key=lambda task: task.budget.size_ratio)
    problem = make_problem(model, tightest.budget, tightest.device)
    spent = problem.table.total(problem.allocate(problem.prior).choice)["size_bytes"]
    assert spent <= problem.limits[0]
    assert {task.device.name for task in tasks} & set(DEVICES)


def test_tasks_to_judge_on_have_the_ratios_of_the_contract():
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(200), keras.layers.Dense(4, name="head")]
    )
    tasks = draw_tasks(entry_of("test"), model, shares_of((64,)), 6)
    assert {task.device.name for task in tasks} == set(DEVICES)
    ratios = {task.budget.size_ratio for task in tasks}
    assert {0.25} <= ratios <= set(META_TEST_RATIOS) and len(ratios) < 4


def test_random_devices_always_leave_a_choice():
    generator, seen = np.random.default_rng(0), set()
    info = SimpleNamespace(kind="Dense", compressible=True)
    for _ in range(60):
        profile = random_device(generator)
        mask = profile.actions(info, DEFAULT_ACTIONS)
        assert mask.sum() > 1
        seen.add((profile.pays("size_bytes"), profile.bits("Dense")))
    assert len(seen) >= 4


def test_learning_is_measured_against_chance():
    assert [least_accuracy(n) for n in (2, 4, 10)] == pytest.approx([0.75, 0.625, 0.3])


def test_results_come_from_workers_and_unknown_backends_are_refused():
    assert list(workers.run_all(divmod, [(7, 2), (9, 4)])) == [(3, 1), (2, 1)]
    with pytest.raises(InvalidArgumentError, match="loky"):
        list(workers.run_all(divmod, [(7, 2)], backend="locky"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", workers.BACKENDS)
def test_two_workers_train_and_measure_what_one_does(tmp_path, digits, backend):
    if backend == "ray":
        pytest.importorskip("ray", reason='needs pip install "tf_metacompress[ray]"')
    made = Zoo(tmp_path / backend, num_models=4, sources=digits, train_steps=20)
    records = made.train("train", num_workers=2, backend=backend, quiet=True)
    alone = Zoo(tmp_path / "alone", num_models=4, sources=digits, train_steps=20)
    for one, other in zip(records, alone.train("train", quiet=True), strict=True):
        assert (one.entry, one.num_params) == (other.entry, other.num_params)
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.05)
    entries = made.entries("train")[:2]
    by_two = Measuring(tasks_per_model=1, policies_per_task=3, num_workers=2, backend=backend)
    by_one = Measuring(tasks_per_model=1, policies_per_task=4)
    there = measure_zoo(made, entries, by_two, quiet=True)
    here = measure_zoo(made, entries, by_one, quiet=True)
    for one, other in zip(there, here, strict=True):
        assert (one.losses.shape, other.losses.shape) == ((3,), (4,))
        np.testing.assert_allclose(one.losses, other.losses[:3], rtol=0.02)


def test_ray_says_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    with pytest.raises(InvalidArgumentError, match=r"needs Ray.*tf_metacompress\[ray\]"):
        workers.check_backend("ray")
