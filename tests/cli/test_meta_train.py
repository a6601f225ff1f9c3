"""`tf-metacompress meta-train`: what it hands on, and what it refuses before any work."""

import numpy as np
import pytest

from tf_metacompress import pipeline
from tf_metacompress.cli import main
from tf_metacompress.cli.meta_train import BACKENDS, KEPT_FOR_JUDGING
from tf_metacompress.pipeline import MetaTrainSettings
from tf_metacompress.pipeline import zoo as zoo_package


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Calls the command with the work taken out; gives what the work would have been given."""
    calls = []
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(pipeline, "meta_train", lambda *args, **kw: calls.append((args, kw)))

    def run(*words):
        code = main(["meta-train", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err, calls

    return run


def test_without_files_it_works_on_the_digits_and_says_so(call, tmp_path):
    code, out, _, calls = call(f"--out={tmp_path}/phi", "--models=3", "--meta-steps=2")
    assert (code, len(calls)) == (0, 1)
    (folder, settings, sources), options = calls[0]
    assert folder == f"{tmp_path}/phi" and tuple(sources) == ("digits", "digits_rows")
    assert settings == MetaTrainSettings(num_models=3, meta_steps=2)
    assert options["command"] == "tf-metacompress meta-train --models=3 --meta-steps=2 --out=DIR"
    assert "data: digits, digits_rows, which are at hand" in out
    assert "phi.npz" in out.splitlines()[-1]


def test_files_and_numbers_are_handed_on(call, tmp_path):
    x, y = np.zeros((4, 8, 8, 1), "float32"), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = (f"--data=mine={tmp_path}/mine.npz", "--workers=2", "--seed=5", "--tasks-per-model=3")
    code, _, _, calls = call(f"--out={tmp_path}/phi", *words)
    (_, settings, sources), options = calls[0]
    assert code == 0 and "mine" in sources
    assert (settings.num_workers, settings.seed, settings.tasks_per_model) == (2, 5, 3)
    assert "--data=mine=mine.npz" in options["command"]
    assert str(tmp_path) not in options["command"]


BAD = {
    "no folder": ([], "Pass --out=DIR"),
    "one model": (["--out=o", "--models=1"], "--models"),
    "no steps": (["--out=o", "--meta-steps=-1"], "--meta-steps"),
    "unknown backend": (["--out=o", "--backend=threads"], "--backend"),
    "no name": (["--out=o", "--data=none.npz"], "NAME=FILE"),
    "kept for judging": (["--out=o", "--data=fashion_mnist=f.npz"], "kept for judging"),
    "no such flag": (["--out=o", "--model=3"], "--models"),
}


@pytest.mark.parametrize("case", BAD)
def test_it_refuses_before_any_work(call, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    words, message = BAD[case]
    code, _, err, calls = call(*words)
    assert (code, message in err, err.count("\n"), calls) == (2, True, 1, []), err
    assert not (tmp_path / "o").exists()


def test_the_same_name_twice_and_files_of_another_kind_are_refused(call, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    file = f"--data=mine={tmp_path}/a.txt"
    code, _, err, _ = call(f"--out={tmp_path}/o", file, file)
    assert (code, "twice" in err) == (2, True), err
    code, _, err, calls = call(f"--out={tmp_path}/o", "--data=mine=none.npz")
    assert (code, "no such data file" in err, calls) == (1, True, []), err
    code, _, err, calls = call(f"--out={tmp_path}/o", file)
    assert (code, "must be an .npz file" in err, calls) == (1, True, []), err


def test_the_light_copies_in_the_command_line_agree_with_the_zoo():
    assert BACKENDS == zoo_package.BACKENDS
    assert KEPT_FOR_JUDGING == zoo_package.META_TEST_SOURCES
