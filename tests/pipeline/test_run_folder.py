"""One run a folder, and no remains of killed ones."""

import os

import pytest

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.pipeline.run_folder import run_folder


def test_two_runs_do_not_share_a_folder(tmp_path):
    with run_folder(tmp_path / "out", []) as folder:
        assert folder == tmp_path / "out"
        with (
            pytest.raises(InvalidArgumentError, match="Another run .*Received: out="),
            run_folder(tmp_path / "out", []),
        ):
            pass
    with run_folder(tmp_path / "out", []):
        pass


def test_remains_of_killed_runs_go_and_other_files_stay(tmp_path):
    inner = tmp_path / "stages" / "abc"
    inner.mkdir(parents=True)
    kept = ["report.json", ".other.0123456789ab.tmp.json", ".report.tmp.json", "mine.tmp"]
    for name in (*kept, ".report.0123456789ab.tmp.json"):
        (tmp_path / name).write_text("x")
    for name in ("zoo.keras", ".zoo.0123456789ab.tmp.keras"):
        (inner / name).write_text("x")
    with run_folder(tmp_path, ["report.json"]):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "stages"])
    assert os.listdir(inner) == ["zoo.keras"]


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(InvalidArgumentError, match="Cannot write here"),
        run_folder(tmp_path / "file" / "out", []),
    ):
        pass
