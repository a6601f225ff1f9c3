"""Commands that report: text, or with --json nothing but JSON on stdout."""

import json
from types import SimpleNamespace

import pytest

from tests.deploy.handover.small_files import classifier
from tests.pipeline.results import outcome
from tf_metacompress import pipeline
from tf_metacompress.cli import main
from tf_metacompress.cli.command import Command
from tf_metacompress.cli.main import COMMANDS
from tf_metacompress.errors import ParityError


@pytest.fixture
def call(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def files(tmp_path):
    names = {"a ü.tflite": classifier("float32"), "b.tflite": classifier(softmax=True)}
    for name, file in names.items():
        (tmp_path / name).write_bytes(file.packed())
    return [tmp_path / name for name in names]


def noisy(result):
    def run(values, positional):
        print("a progress bar")
        return result

    return Command(name="demo", summary="", arguments=(), example="", define=id, run=run)


def test_what_is_printed_on_the_way_is_not_in_the_json(call, monkeypatch):
    result = SimpleNamespace(to_json=lambda: '{"a": 1}')
    monkeypatch.setitem(COMMANDS, "demo", noisy(result))
    done = call("demo", "--json")
    assert (done.code, done.out, done.err) == (0, '{"a": 1}\n', "a progress bar\n")
    done = call("demo")
    assert done.out == f"a progress bar\n{result}\n"


def test_inspect_prints_tables_or_json(call, files):
    done = call("inspect", files[0])
    assert done.code == 0
    assert done.out.startswith(f"{files[0]} (float32): 1 operators\n")
    done = call("inspect", files[1], "--json")
    assert [entry["op"] for entry in json.loads(done.out)["ops"]] == ["FULLY_CONNECTED", "SOFTMAX"]


def test_compare_takes_any_number_of_files(call, files):
    words = ("compare", *files, files[0], "--num-blocks=3", "--num-runs=2", "--json")
    done = call(*words)
    stated = json.loads(done.out)
    assert [report["mode"] for report in stated["files"]] == ["float32", "int8", "float32"]
    assert stated["timing"]["num_blocks"] == 3
    done = call("compare")
    assert (done.code, "takes A.tflite B.tflite …" in done.err) == (2, True)


@pytest.mark.parametrize("command", ["inspect", "benchmark", "compare", "bundle"])
@pytest.mark.parametrize("content", [None, b"", b"%PDF-1.4, not a model", "cut"])
def test_what_is_no_file_is_one_line(call, files, tmp_path, command, content):
    bad = tmp_path / "bad file.tflite"
    if content is not None:
        whole = files[1].read_bytes()
        bad.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    words = {"compare": [files[0], bad], "bundle": [bad, f"--out={tmp_path}/o"]}
    done = call(command, *words.get(command, [bad]), "--json")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "bad file.tflite" in done.err and "This is a bug" not in done.err


def test_compress_and_demo_give_the_report_of_their_folder(call, monkeypatch, tmp_path):
    def run_demo(data, out, settings, *, announce, quiet):
        announce("a stage")
        (tmp_path / "report.json").write_text('{"title": "ü"}\n', "utf-8")
        return outcome()

    monkeypatch.setattr(pipeline, "run_demo", run_demo)
    done = call("demo", f"--out={tmp_path}", "--json")
    assert json.loads(done.out) == {"title": "ü"}
    assert done.err == "a stage\n"

    def gated(*args, **options):
        raise ParityError("The int8 file is wrong.", report=outcome())

    monkeypatch.setattr(pipeline, "run_demo", gated)
    done = call("demo", f"--out={tmp_path}", "--json")
    assert (done.code, done.out) == (1, "")
    assert "Φ adapted" in done.err


def test_meta_train_gives_its_card(call, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "meta_train", lambda *args, **options: None)
    (tmp_path / "card.json").write_text('{"models": 3}')
    done = call("meta-train", f"--out={tmp_path}", "--json")
    assert json.loads(done.out) == {"models": 3}
