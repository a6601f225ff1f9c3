"""Stages run once, resume, and notice what was damaged."""

import json

import keras
import pytest

from tests.small_models import dense_net
from tf_metacompress.pipeline import stages as stages_module
from tf_metacompress.pipeline.stages import RECORDS, Stages
from tf_metacompress.policy import Policy, Rule


class Run:
    """A run of three stages, of which the last takes the results of the others."""

    def __init__(self, directory, settings=None, stop_at=None):
        self.lines = []
        self.stop_at = stop_at
        self.ran = []
        self.stages = Stages(directory, settings or {"size": 1}, self._announce)

    def _announce(self, line):
        self.lines.append(line)
        if self.stop_at and line.startswith(f"{self.stop_at} …"):
            raise KeyboardInterrupt

    def _make(self, name, value):
        self.ran.append(name)
        return value

    def all(self):
        first = self.stages.data("first", lambda: self._make("first", [1, 2]))
        second = self.stages.data("second", self._second, files=["second.bin"])
        return self.stages.data(
            "last", lambda: self._make("last", first + [second]), needs=["first", "second"]
        )

    def _second(self):
        self.stages.path("second.bin").write_bytes(b"side")
        return self._make("second", 3)


def test_a_stage_runs_once_and_is_taken_from_disk_after(tmp_path):
    run, again = Run(tmp_path), Run(tmp_path)
    assert run.all() == again.all() == [1, 2, 3]
    again = Run(tmp_path)
    assert again.all() == [1, 2, 3]
    assert run.ran == ["first", "second", "last"]
    assert again.ran == []
    assert again.lines == [
        f"{name}: taken from the earlier run" for name in ("first", "second", "last")
    ]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, stop_at="last").all()
    run = Run(tmp_path)
    assert run.all() == [1, 2, 3]
    assert run.ran == ["last"]


def test_a_result_without_a_note_that_it_is_finished_is_made_again(tmp_path):
    run = Run(tmp_path)
    run.all()
    path = run.stages.path(RECORDS)
    notes = json.loads(path.read_text())
    del notes["second"]
    path.write_text(json.dumps(notes))
    run = Run(tmp_path)
    run.all()
    assert run.ran == ["second"]


def test_results_of_other_settings_are_kept_apart(tmp_path):
    Run(tmp_path).all()
    run = Run(tmp_path, settings={"size": 2})
    run.all()
    assert run.ran == ["first", "second", "last"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "deleted"])
@pytest.mark.parametrize("file", ["second.json", "second.bin"])
def test_a_damaged_result_is_made_again_and_said(tmp_path, file, damage):
    run = Run(tmp_path)
    run.all()
    path = run.stages.path(file)
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"something else")
    run = Run(tmp_path)
    assert run.all() == [1, 2, 3]
    assert run.ran == ["second"]
    assert any(line.startswith(f"second … again: {file}") for line in run.lines)


def test_what_follows_a_changed_result_is_made_again(tmp_path):
    run = Run(tmp_path)
    run.all()
    run.stages.path("first.json").unlink()
    run = Run(tmp_path)
    run._make = lambda name, value: run.ran.append(name) or (value if name != "first" else [7])
    assert run.all() == [7, 3]
    assert run.ran == ["first", "last"]
    assert "last … again: first was made again" in run.lines


@pytest.mark.parametrize("text", ["", "[]", '{"first": 3}', '{"first": {"seconds": 1}}', "\0"])
def test_damaged_notes_make_all_stages_run_again(tmp_path, text):
    run = Run(tmp_path)
    run.all()
    run.stages.path(RECORDS).write_text(text)
    run = Run(tmp_path)
    assert run.all() == [1, 2, 3]
    assert "damaged" in run.lines[0]
    assert run.ran == ["first", "second", "last"]


def test_seconds_are_those_of_the_stage_itself_and_survive_a_restart(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stages_module.time, "perf_counter", lambda: now[0])

    def work(seconds, value=None):
        now[0] += seconds
        return value

    stages = Stages(tmp_path, {}, lambda line: None)

    def outer():
        work(1.0)
        stages.data("inner", lambda: work(10.0, 1))
        return work(2.0, 2)

    stages.data("outer", outer)
    stages.data("after", lambda: work(5.0, 3))
    expected = {"after": 5.0, "inner": 10.0, "outer": 3.0}
    assert stages.seconds() == expected
    assert Stages(tmp_path, {}).seconds() == expected


def test_a_failing_stage_leaves_nothing_behind(tmp_path):
    stages = Stages(tmp_path, {}, lambda line: None)

    def fail():
        raise RuntimeError("no")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no"):
            stages.data("stage", fail)
    assert stages.seconds() == {}
    assert not stages.path("stage.json").exists()


def test_models_and_policies_come_back_alike(tmp_path):
    model, policy = dense_net(), Policy([Rule("hidden", sparsity=0.5)], name="mine")
    model.compile("adam", "mse")
    stages = Stages(tmp_path, {}, lambda line: None)
    for _ in range(2):
        found = stages.model("net", lambda: model)
        assert isinstance(found, keras.Model) and not found.compiled
        assert [tuple(v.shape) for v in found.variables] == [
            tuple(v.shape) for v in model.variables
        ]
        assert stages.policy("policy", lambda: policy) == policy
