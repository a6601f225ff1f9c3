"""`tf-metacompress bundle`: what its flags say goes into the folder; bad input is one line."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.deploy.handover.small_files import classifier
from tf_metacompress.cli import main
from tf_metacompress.policy import Policy, Rule


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "my gestures é.tflite"
    path.write_bytes(classifier().packed())
    return path


def run(capsys, *words):
    code = main(["bundle", *map(str, words)])
    out, err = capsys.readouterr()
    return SimpleNamespace(code=code, out=out, err=err)


def test_the_flags_go_into_the_folder(capsys, model, tmp_path):
    (tmp_path / "labels.txt").write_bytes("no\r\nyes\r\nmaybe – ü\r\n".encode())
    Policy([Rule("*", weight_bits=8)]).save(tmp_path / "policy.json")
    (tmp_path / "m.keras").write_bytes(b"source")
    np.save(tmp_path / "x.npy", np.array([[1.0, 2.0, 3.0, 4.0]]))
    done = run(
        capsys,
        model,
        f"--out={tmp_path / 'out put'}",
        f"--labels={tmp_path / 'labels.txt'}",
        "--mean=1,2,3,4",
        "--std=0.5,0.5,0.5,0.5",
        "--softmax",
        f"--policy={tmp_path / 'policy.json'}",
        f"--source={tmp_path / 'm.keras'}",
        f"--sample={tmp_path / 'x.npy'}",
        "--package=org.example.hands",
        "--name=hands",
        "--json",
    )
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["class_name"] == "HandsModel"
    told = json.loads((tmp_path / "out put/assets/model.json").read_text("utf-8"))
    assert told["labels"] == ["no", "yes", "maybe – ü"]
    assert told["normalization"]["pixels"]["mean"] == [1, 2, 3, 4]
    assert told["softmax"] is True
    assert told["policy"]["rules"][0]["weight_bits"] == 8
    assert told["source"] == "m.keras"
    assert told["source_sha256"] == hashlib.sha256(b"source").hexdigest()
    vector = json.loads((tmp_path / "out put/vector/vector.json").read_text("utf-8"))
    assert vector["inputs"][0]["values"] == [1, 2, 3, 4]
    again = run(capsys, tmp_path / "out put/assets/model.tflite", f"--out={tmp_path / 'b'}")
    assert again.code == 0
    assert "com.example.model.HandsModel" in again.out
    assert (tmp_path / "b/assets/labels.txt").read_text("utf-8") == "no\nyes\nmaybe – ü\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "needs --out=DIR"),
        (["--out=o", "--mean=1"], 2, "go together"),
        (["--out=o", "--mean=a", "--std=1"], 2, "takes numbers"),
        (["--out=o", "--labels=none.txt"], 1, "Cannot read the file"),
        (["--out=o", "--labels=two.txt"], 1, "labels=2, values=3"),
        (["--out=o", "--labels=blank.txt"], 1, "one label"),
        (["--out=o", "--labels=latin.txt"], 1, "UTF-8"),
        (["--out=o", "--package=fun"], 1, "Java package"),
        (["--out=full"], 1, "new or empty"),
        (["--out=o", "--sample=two.txt"], 1, ".npy or .npz"),
        (["--out=o", "--sample=none.npy"], 1, "Cannot read the file"),
        (["--out=o", "--policy=two.txt"], 1, "JSON"),
        (["--out=o", "--benchmark=two.txt"], 1, "benchmark --json"),
        (["--out=o", "--source=none.keras"], 1, "Cannot read the file"),
        (["--out=o", "--std=0", "--mean=0"], 1, "must not be 0"),
    ],
)
def test_bad_input_is_one_line(capsys, model, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9\nb\nc\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    done = run(capsys, model, *words)
    assert (done.code, message in done.err, done.err.count("\n")) == (code, True, 1), done.err
    assert not (tmp_path / "o").exists()


def test_what_is_no_model_is_refused(capsys, tmp_path):
    (tmp_path / "x.tflite").write_text("no model")
    for name in ("x.tflite", "none.tflite"):
        done = run(capsys, tmp_path / name, f"--out={tmp_path / 'o'}")
        assert done.code == 1
    assert not (tmp_path / "o").exists()
