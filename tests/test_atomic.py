"""Files that are whole or absent."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tf_metacompress import atomic
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError

ROOT = Path(__file__).parent.parent


def test_a_file_is_written_with_its_missing_directories(tmp_path):
    path = atomic.write_text(tmp_path / "a" / "b" / "note.txt", "grün")
    assert path.read_text(encoding="utf-8") == "grün"
    assert os.listdir(path.parent) == ["note.txt"]


def test_the_old_file_stays_when_the_block_fails(tmp_path):
    path = atomic.write_bytes(tmp_path / "data.bin", b"old")
    with pytest.raises(RuntimeError, match="halfway"), atomic.atomic_path(path) as temporary:
        temporary.write_bytes(b"new, but half")
        raise RuntimeError("halfway")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data.bin"]


def test_the_old_file_stays_when_the_process_is_killed(tmp_path):
    path = atomic.write_bytes(tmp_path / "data.bin", b"old")
    code = f"""
        import os, signal
        from tf_metacompress.atomic import atomic_path
        with atomic_path({str(path)!r}) as temporary:
            temporary.write_bytes(b"new, but half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    path = atomic.write_bytes(tmp_path / "data.bin", b"old")
    with path.open("rb") as reader:
        atomic.write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_the_temporary_file_keeps_the_suffix_and_the_directory(tmp_path):
    with atomic.atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_writing_nothing_is_an_error(tmp_path):
    with (
        pytest.raises(InvalidArgumentError, match="Nothing was written"),
        atomic.atomic_path(tmp_path / "x"),
    ):
        pass


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    written = atomic.write_bytes(tmp_path / "written", b"")
    assert written.stat().st_mode == ordinary.stat().st_mode


def test_json_is_indented_and_ends_with_a_newline(tmp_path):
    path = atomic.write_json(tmp_path / "x.json", {"a": [1, 2.5]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5]}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_express_is_refused(tmp_path, value):
    with pytest.raises(InvalidArgumentError, match="cannot be written as JSON"):
        atomic.write_json(tmp_path / "x.json", value)
    assert not os.listdir(tmp_path)


def test_checking_leaves_nothing_behind(tmp_path):
    path = tmp_path / "not" / "yet" / "there.json"
    assert atomic.check_writable(str(path)) == path
    assert atomic.check_writable(tmp_path) == tmp_path
    assert not os.listdir(tmp_path)


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    for call in (atomic.check_writable, lambda path: atomic.write_text(path, "x")):
        with pytest.raises(InvalidArgumentError, match="Cannot write here: Not a directory"):
            call(blocker / "x.json")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(InvalidArgumentError, match="not a directory"):
        atomic.write_text(tmp_path, "x")


def test_an_unwritable_directory_is_an_error():
    with pytest.raises(InvalidArgumentError, match="Cannot write here"):
        atomic.check_writable("/proc/nothing/x.json")


def test_the_longest_name_that_the_disk_takes_is_taken(tmp_path):
    assert atomic.write_text(tmp_path / ("x" * 255), "x").read_text() == "x"


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def write_bytes(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(InvalidArgumentError, match="No space left"):
        atomic.write_text(tmp_path / "x", "x")
    assert not os.listdir(tmp_path)


def test_a_name_that_is_too_long_is_an_error(tmp_path):
    with pytest.raises(InvalidArgumentError, match="Cannot write here"):
        atomic.check_writable(tmp_path / ("x" * 300))


@pytest.mark.parametrize("path", [None, 3, b"x"])
def test_a_path_must_be_a_path(path):
    with pytest.raises(ArgumentTypeError, match="`path` must be a string or a Path"):
        atomic.check_writable(path)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_must_name_something(path):
    with pytest.raises(InvalidArgumentError, match="must name a file"):
        atomic.check_writable(path)


def test_the_leftover_of_a_killed_process_is_removed_and_nothing_else(tmp_path):
    code = f"""
        import os, signal
        from tf_metacompress.atomic import atomic_path
        with atomic_path({str(tmp_path / "model.keras")!r}) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=False)
    kept = [".model.keras.tmp", ".notes.tmp.txt", "a.0123456789ab.tmp", ".x.0123456789AB.tmp.y"]
    for name in kept:
        (tmp_path / name).write_text("somebody else's")
    (tmp_path / ".folder.0123456789ab.tmp").mkdir()
    removed = atomic.remove_leftovers(tmp_path)
    assert [path.name.startswith(".model.") for path in removed] == [True]
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, ".folder.0123456789ab.tmp"])


@pytest.mark.parametrize("name", ["report.json", "no_suffix", "two.dots.npz", "l" * 60 + ".png"])
def test_leftovers_are_removed_by_the_name_they_were_to_have(tmp_path, name):
    with atomic.atomic_path(tmp_path / name) as temporary:
        temporary.write_text("x")
        (tmp_path / f"copy{temporary.name}").write_text("x")
        leftover = temporary.name
    (tmp_path / f"copy{leftover}").rename(tmp_path / leftover)
    assert atomic.remove_leftovers(tmp_path, ["other.json"]) == ()
    assert atomic.remove_leftovers(tmp_path, [name]) == (tmp_path / leftover,)
    assert os.listdir(tmp_path) == [name]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with atomic.atomic_folder(tmp_path / "a" / "new") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("whole")
        assert not (tmp_path / "a" / "new").exists()
    assert (tmp_path / "a" / "new" / "inner" / "file").read_text() == "whole"
    with pytest.raises(KeyError), atomic.atomic_folder(tmp_path / "other") as folder:
        (folder / "file").write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]


def test_a_folder_may_be_empty_and_nothing_else(tmp_path):
    (tmp_path / "empty").mkdir()
    with atomic.atomic_folder(tmp_path / "empty") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "empty" / "file").is_file()
    for taken in (tmp_path / "empty", tmp_path / "empty" / "file", tmp_path / "empty/file/under"):
        with (
            pytest.raises(InvalidArgumentError),
            atomic.atomic_folder(taken),
        ):
            pass
    assert (tmp_path / "empty" / "file").read_text() == "x"
