"""Meta-training in steps: exact resume, saved states, what is held out, what is refused."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.meta import InnerLoop, MetaCompressor, MetaTraining, Outer, TrainingState
from tf_metacompress.pipeline import MetaTrainSettings, load_dataset, meta_train, meta_training
from tf_metacompress.policy import Budget
from tf_metacompress.tasks import Task

OUTER = Outer(meta_batch_size=2, batch_size=16, seed=3)


@pytest.fixture(scope="module")
def tasks():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32,)),
            keras.layers.Dense(64, activation="relu", name="one"),
            keras.layers.Dense(3, activation="softmax", name="two"),
        ]
    )
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 32)).astype("float32"), generator.integers(0, 3, 64)
    loss = "sparse_categorical_crossentropy"
    budgets = (Budget(size_ratio=0.6), Budget(size_ratio=0.7))
    return [Task(model, b, support=(x, y), query=(x[::-1], y[::-1]), loss=loss) for b in budgets]


def compressor():
    loop = InnerLoop(inner_steps=1)
    return MetaCompressor(hidden=(8,), num_heads=2, seed=1, inner_loop=loop)


@pytest.mark.slow
def test_training_goes_on_from_a_saved_state_to_the_last_bit(tasks, tmp_path):
    whole = compressor().training(tasks, OUTER)
    first = [whole.step() for _ in range(2)]
    whole.state.save(tmp_path / "state.npz")
    rest = [whole.step() for _ in range(2)]
    resumed = MetaTraining(whole._prepared, compressor().phi, OUTER)  # compiled already
    resumed.restore(TrainingState.load(tmp_path / "state.npz"))
    assert [resumed.step() for _ in range(2)] == rest != first
    for a, b in zip(whole.state.meta.optimizer, resumed.state.meta.optimizer, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(whole.phi, resumed.phi, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.state.generator == resumed.state.generator
    reached = compressor().at(resumed.state)
    assert reached.meta_steps == 4
    np.testing.assert_array_equal(reached.phi[0], whole.phi[0])


@pytest.mark.slow
def test_fit_is_the_same_training(tasks):
    fitted = compressor()
    history = fitted.fit(tasks, 2, meta_batch_size=2, batch_size=16)
    stepped = compressor().training(tasks, Outer(meta_batch_size=2, batch_size=16, seed=1))
    assert [stepped.step()["query_loss"] for _ in range(2)] == history["query_loss"]


def test_a_state_that_does_not_fit_is_refused(tasks, tmp_path):
    path = tmp_path / "state.npz"
    compressor().training(tasks, OUTER).state.save(path)
    with pytest.raises(InvalidArgumentError, match="another Φ"):
        other = MetaCompressor(hidden=(4,), num_heads=2).training(tasks, OUTER)
        other.restore(TrainingState.load(path))
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    with pytest.raises(CorruptFileError, match="Remove it to begin anew"):
        TrainingState.load(path)
    path.write_bytes(content)
    with np.load(path) as file:
        changed = {**file, "array_0": file["array_0"] + 1.0}
    np.savez(path, **changed)
    with pytest.raises(CorruptFileError, match="checksum"):
        TrainingState.load(path)


def entry(index, architecture):
    return SimpleNamespace(index=index, architecture=architecture)


def test_models_that_share_an_architecture_are_held_out_together():
    learned = [entry(index, index // 2) for index in range(20)]
    held_out = meta_training._held_out(learned)
    assert [e.index for e in held_out] == [6, 7, 14, 15]
    assert [e.index for e in meta_training._held_out(learned[:4])] == [2, 3]
    assert meta_training._held_out(learned[:1]) == meta_training._held_out(learned[:2]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_models": 1}, "num_models"),
        ({"meta_steps": -1}, "meta_steps"),
        ({"policies_per_task": -1}, "policies_per_task"),
        ({"policies_per_task": 2}, "policies_per_task.*at least 3"),
        ({"meta_lr": 0.0}, "meta_lr"),
        ({"num_workers": 0}, "num_workers"),
        ({"backend": "threads"}, "backend"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        MetaTrainSettings(**changes)


@pytest.mark.parametrize("sources", [{}, {"fashion_mnist": None, "digits": None}])
def test_what_is_kept_for_judging_is_refused_before_any_work(tmp_path, sources):
    with pytest.raises(InvalidArgumentError, match="kept_for_judging"):
        meta_train(tmp_path / "out", MetaTrainSettings(), sources)
    assert not (tmp_path / "out").exists()


def run(folder, meta_steps, lines):
    settings = MetaTrainSettings(
        num_models=3,
        meta_steps=meta_steps,
        meta_batch_size=1,
        train_steps=200,
        tasks_per_model=1,
        policies_per_task=3,
        regression_steps=5,
        checkpoint_every=1,
    )
    digits = {"digits": load_dataset("digits")}
    return meta_train(folder, settings, digits, command="again", announce=lines.append, quiet=True)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_run_from_zoo_to_card_and_on(tmp_path, monkeypatch):
    families = "tf_metacompress.pipeline.zoo.recipes.families_of"
    monkeypatch.setattr(families, lambda split: ("mlp",))
    first, again = [], []
    run(tmp_path / "parts", 1, first)
    trained = run(tmp_path / "parts", 2, again)
    assert any("goes on after 1 meta-steps" in line for line in again)
    card = json.loads((tmp_path / "parts" / "card.json").read_text())
    assert card["command"] == "again"
    num_trained, num_held_out = card["trained_on"]["models"], len(card["held_out"]["models"])
    assert num_trained and num_held_out and num_trained + num_held_out <= 3
    history = json.loads((tmp_path / "parts" / "history.json").read_text())
    assert len(history["steps"]) == 2
    assert [v["meta_step"] for v in history["validation"]] == [0, 1, 2]
    both = [v["phi_loss"] + v["informed_loss"] for v in history["validation"]]
    best = int(np.argmin(both))
    assert MetaCompressor.load(tmp_path / "parts" / "phi.npz").meta_steps == best
    assert card["meta_steps"] == best
    assert len(list((tmp_path / "parts" / "zoo" / "outcomes").iterdir())) == num_trained
    assert "fashion_mnist" in (tmp_path / "parts" / "card.md").read_text()
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts" / "zoo").rename(tmp_path / "whole" / "zoo")
    whole = run(tmp_path / "whole", 2, [])
    for a, b in zip(trained.phi, whole.phi, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_meta_steps_without_any_task_are_refused(tmp_path):
    zoo = SimpleNamespace(tasks_of=lambda entry, count: [])
    given = (MetaTrainSettings(meta_steps=1), True)
    with pytest.raises(InvalidArgumentError, match="a choice under a budget"):
        meta_training._run_of(zoo, tmp_path, compressor(), ([entry(0, 0)], []), *given)
