"""What each command does, on small models in this process."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.pipeline.jobs import Job, leave_out_training_and_timing
from tests.pipeline.results import outcome
from tf_metacompress import pipeline
from tf_metacompress.cli import main
from tf_metacompress.deploy import LitertModel, export_litert, read_metadata
from tf_metacompress.errors import ParityError
from tf_metacompress.policy import Policy, Rule


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a model, data, a policy and .tflite files, whole and damaged."""
    folder = tmp_path_factory.mktemp("files")
    job = Job(folder)
    model = keras.models.load_model(job.model)
    export_litert(model, folder / "small.tflite")
    whole = (folder / "small.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (folder / "text.tflite").write_text("not a model")
    (folder / "cut.keras").write_bytes(job.model.read_bytes()[:5000])
    (folder / "cut.npz").write_bytes(job.data.read_bytes()[:5000])
    (folder / "cut.json").write_text(job.policy.read_text()[:40])
    np.savez(folder / "few.npz", x_train=np.zeros((3, 8, 8)), y_train=np.arange(3))
    x, y = np.zeros((4, 8, 8, 1), "float32"), np.array([0, 1, 2, 7])
    np.savez(folder / "labels.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.savez(folder / "flat.npz", x_train=x[..., 0], y_train=y, x_test=x[..., 0], y_test=y)
    np.savez(folder / "empty.npz", x_train=x[:0], y_train=y[:0], x_test=x, y_test=y)
    return folder


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert err.count("\n") == (code != 0)
    return SimpleNamespace(code=code, out=out, err=err)


def compress(capsys, files, out, **changes):
    flags = {"data": files / "data.npz", "policy": files / "policy.json", "out": out, **changes}
    model = flags.pop("model", files / "small.keras")
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items() if value]
    return run(capsys, "compress", model, "--steps=2", *words)


def test_compress_writes_a_folder_and_closes_with_table_and_findings(
    capsys, files, tmp_path, monkeypatch
):
    leave_out_training_and_timing(monkeypatch)
    done = compress(capsys, files, tmp_path / "out")
    assert done.code == 0
    assert "row-compressed …" in done.out
    assert "accuracy  file KiB  gzip KiB" in done.out
    assert "Not gained, and worth knowing:" in done.out
    assert f"Written: {tmp_path}/out/model_int8.tflite" in done.out
    quiet = compress(capsys, files, tmp_path / "out", quiet="true")
    assert quiet.out.strip() == done.out[done.out.index("small on data") :].strip()


BAD_INPUT = {
    "no model": ({"model": "none.keras"}, "no such model file"),
    "cut model": ({"model": "cut.keras"}, "Keras cannot read this model"),
    "tflite as model": ({"model": "small.tflite"}, "Keras cannot read this model"),
    "no data": ({"data": "none.npz"}, "no such data file"),
    "cut data": ({"data": "cut.npz"}, "not a readable .npz file"),
    "arrays missing": ({"data": "few.npz"}, "missing=['x_test', 'y_test']"),
    "empty data": ({"data": "empty.npz"}, "must not be empty"),
    "labels too large": ({"data": "labels.npz"}, "largest_label=7, outputs=3"),
    "no channel axis": ({"data": "flat.npz"}, "add a last axis"),
    "no policy": ({"policy": "none.json"}, "no such file"),
    "cut policy": ({"policy": "cut.json"}, "JSON"),
    "no phi": ({"policy": "", "size_ratio": 0.5, "phi": "none.npz"}, "no such file"),
    "cut phi": ({"policy": "", "size_ratio": 0.5, "phi": "cut.npz"}, "MetaCompressor"),
    "unreachable": ({"policy": "", "size_ratio": 0.01}, "smallest size_bytes is"),
    "unwritable": ({"out": "small.keras/out"}, "Cannot write here"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_compress_refuses_bad_input_and_leaves_what_was_there(capsys, files, tmp_path, case):
    changes, message = BAD_INPUT[case]
    changes = {k: files / v if isinstance(v, str) and v else v for k, v in changes.items()}
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("the earlier report")
    done = compress(capsys, files, **{"out": out, **changes})
    assert (done.code, message in done.err) == (1, True), done.err
    assert (out / "report.json").read_text() == "the earlier report"
    if "polic" not in case and "phi" not in case and case != "unreachable":
        assert [path.name for path in out.iterdir()] == ["report.json"]


def test_export_writes_beside_the_model_or_where_it_is_told(capsys, files, tmp_path):
    shutil.copy(files / "small.keras", tmp_path / "mine.keras")
    done = run(capsys, "export", tmp_path / "mine.keras")
    assert done.code == 0
    assert "relative error" in done.out
    assert LitertModel.open(tmp_path / "mine.tflite").output_names
    done = run(
        capsys,
        "export",
        tmp_path / "mine.keras",
        "--mode=int8",
        f"--data={files / 'data.npz'}",
        f"--out={tmp_path / 'small int8.tflite'}",
        "--json",
    )
    report = json.loads(done.out)
    assert (report["mode"], report["parity"]["source"]) == ("int8", "representative_dataset")
    assert (tmp_path / "small int8.tflite").stat().st_size == report["sizes"]["file_bytes"]


def test_export_takes_a_policy_in_mode_mixed(capsys, files, tmp_path):
    policy = tmp_path / "policy.json"
    Policy([Rule("*", weight_bits=16, activation_bits=32)]).save(policy)
    words = ["export", files / "small.keras", "--mode=mixed", f"--data={files / 'data.npz'}"]
    done = run(capsys, *words, f"--policy={policy}", f"--out={tmp_path / 'm.tflite'}", "--json")
    assert done.code == 0, done.err
    assert {layer["stored"] for layer in json.loads(done.out)["layers"]} == {"float16"}
    done = run(capsys, *words)
    assert (done.code, "--mode=mixed and --policy" in done.err) == (2, True), done.err


@pytest.mark.slow
def test_export_writes_a_smaller_file_on_demand(capsys, files, tmp_path):
    words = ["export", files / "small.keras", "--mode=int8", f"--data={files / 'data.npz'}"]
    sizes = {}
    for name, flags in (("full", []), ("slim", ["--slim", "--packed=none"])):
        done = run(capsys, *words, *flags, f"--out={tmp_path / name}.tflite", "--json")
        assert done.code == 0, done.err
        sizes[name] = json.loads(done.out)["sizes"]["file_bytes"]
    assert sizes["slim"] < sizes["full"]
    done = run(capsys, "export", files / "small.keras", "--packed=all")
    assert (done.code, "--packed goes with --mode=int8" in done.err) == (2, True), done.err


def test_export_scores_compares_layers_and_writes_what_the_file_is(capsys, files, tmp_path):
    path = tmp_path / "told.tflite"
    (tmp_path / "labels.txt").write_text("low\nmiddle\nhigh\n")
    flags = ["--per-layer", "--targets", "--dynamic-batch", "--mean=2", "--std=4", "--name=digits"]
    data = f"--data={files / 'data.npz'}"
    labels = f"--labels={tmp_path / 'labels.txt'}"
    words = [files / "small.keras", data, labels, *flags, f"--out={path}", "--json"]
    done = run(capsys, "export", *words)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    with np.load(files / "data.npz") as arrays:
        inputs, wanted = arrays["x_train"].astype("float32"), arrays["y_train"]
    model = keras.models.load_model(files / "small.keras")
    right = float(np.mean(model.predict(inputs, verbose=0).argmax(axis=1) == wanted))
    (score,) = report["parity"]["scores"]
    assert (score["measure"], score["keras"], score["file"]) == ("accuracy", right, right)
    layers = {layer["layer"] for layer in report["parity"]["layers"]}
    assert {"hidden", "head"} <= layers
    told = read_metadata(path)
    assert (told.name, told.source) == ("digits", "small.keras")
    assert told.labels == ("low", "middle", "high")
    assert told.source_sha256 == hashlib.sha256((files / "small.keras").read_bytes()).hexdigest()
    assert [(n.mean, n.std) for n in told.normalization.values()] == [((2.0,), (4.0,))]
    assert json.loads((tmp_path / "told.tflite.json").read_text())["name"] == "digits"
    (pixels,) = Interpreter(str(path)).get_input_details()
    assert pixels["shape_signature"].tolist() == [-1, 8, 8, 1]


def test_export_writes_metadata_only_when_a_flag_asks_for_it(capsys, files, tmp_path):
    plain, told = tmp_path / "plain.tflite", tmp_path / "told.tflite"
    assert run(capsys, "export", files / "small.keras", f"--out={plain}").code == 0
    assert run(capsys, "export", files / "small.keras", "--metadata", f"--out={told}").code == 0
    assert read_metadata(plain) is None
    assert (read_metadata(told).name, read_metadata(told).labels) == ("small", ())
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["told.tflite.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.keras"], "no such model file"),
        (["small.keras", "--softmax"], "probabilities already"),
        (["small.keras", "--labels=none.txt"], "Cannot read the file"),
        (["small.keras", "--targets", "--data=labels.npz"], "largest=7, outputs=3"),
        (["cut.keras"], "Keras cannot read"),
        (["small.keras", "--mode=int8", "--data=none.npz"], "no such data file"),
        (["small.keras", "--out=small.keras/x.tflite"], "Cannot write here"),
        (["small.keras", "--mode=float16", "--tolerance=1e-9"], "does not compute what Keras"),
    ],
)
def test_export_refuses_bad_input(capsys, files, tmp_path, monkeypatch, words, message):
    for name in ("small.keras", "cut.keras", "labels.npz"):
        shutil.copy(files / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    done = run(capsys, "export", *words)
    assert (done.code, message in done.err) == (1, True), done.err
    assert not list(tmp_path.glob("*.tflite"))


def test_benchmark_times_a_file_alone_and_against_another(capsys, files):
    done = run(capsys, "benchmark", files / "small.tflite", "--num-runs=3", "--json")
    assert len(json.loads(done.out)["runs_ms"]) == 3
    words = [files / "small.tflite", f"--against={files / 'small.tflite'}", "--num-runs=2"]
    done = run(capsys, "benchmark", *words)
    assert done.code == 0
    assert done.out.count("ratio") == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.tflite", "No such file"), ("cut.tflite", "Received"), ("text.tflite", "Received")],
)
def test_benchmark_refuses_damaged_files(capsys, files, name, message):
    done = run(capsys, "benchmark", files / name)
    assert (done.code, message in done.err) == (1, True), done.err


@pytest.mark.parametrize("flag", ["--benchmark-model=x", "--identity=x", "--python=x"])
def test_benchmark_takes_the_flags_of_a_kind_of_device_with_it_only(capsys, files, flag):
    done = run(capsys, "benchmark", files / "small.tflite", flag)
    assert done.code == 2
    assert f"{flag[:-2]} goes with --device=" in done.err


def test_benchmark_suggests_the_near_device(capsys, files):
    done = run(capsys, "benchmark", files / "small.tflite", "--device=hst")
    assert done.code == 1
    assert "Did you mean 'host'" in done.err


def test_demo_hands_its_flags_on(capsys, monkeypatch, tmp_path):
    seen = []

    def run_demo(data, out, settings, *, announce, quiet):
        seen.append((data.name, out, settings, quiet))
        announce("a stage")
        return outcome()

    monkeypatch.setattr(pipeline, "run_demo", run_demo)
    words = [f"--out={tmp_path}/demo", "--size-ratio=0.2", "--seed=3", "--train-steps=2"]
    done = run(capsys, "demo", *words)
    assert done.code == 0
    assert done.out.startswith("a stage\n\na run\n")
    ((name, out, settings, quiet),) = seen
    assert (name, out, quiet) == ("digits", f"{tmp_path}/demo", False)
    expected = pipeline.DemoSettings(size_ratio=0.2, seed=3, train_steps=2)
    assert settings == expected


def test_a_file_behind_the_parity_gate_still_gets_its_table(capsys, monkeypatch, tmp_path):
    def run_demo(*args, **options):
        raise ParityError("The int8 file is wrong.", report=outcome())

    monkeypatch.setattr(pipeline, "run_demo", run_demo)
    done = run(capsys, "demo", f"--out={tmp_path}/demo")
    assert done.code == 1
    assert "Φ adapted" in done.out
    assert done.err == "tf-metacompress: The int8 file is wrong.\n"
