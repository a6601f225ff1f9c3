"""`export_litert` from the outside: the report, bad input, and what is left on the disk."""

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import small_models
from tf_metacompress import Policy, Rule, compress, finalize
from tf_metacompress.deploy import LitertModel, export_litert
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError

layers = keras.layers


def test_the_report_of_an_int8_file(exports, data):
    report = exports["int8", "int8"]
    content = Path(report.path).read_bytes()
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert report.file_bytes == len(content)
    assert report.gzip_bytes == len(gzip.compress(content, 9, mtime=0))
    assert 0 < report.constant_bytes < report.file_bytes
    assert report.stored_types == {
        "stem": "int8",
        "depthwise": "int8",
        "four_bits": "int8",
        "head": "int4",
    }
    assert {entry.layer: (entry.grid_bits, entry.exact) for entry in report.layers} == {
        "stem": (8, True),
        "depthwise": (None, False),
        "four_bits": (4, True),
        "head": (4, True),
    }
    assert report.layers_not_found == ()
    assert report.num_calibration_samples == len(data)
    assert report.parity.num_samples == len(data)
    assert report.delegate_partitions >= 1
    assert report.versions["keras"] == keras.__version__
    assert set(report.versions) >= {"tensorflow", "ai-edge-litert", "ai-edge-quantizer"}


def test_the_report_is_frozen_json_and_a_short_table(exports, tmp_path):
    report = exports["int8", "float32"]
    with pytest.raises(FrozenInstanceError):
        report.mode = "float32"
    restored = json.loads(report.save(tmp_path / "report.json").read_text())
    assert restored["schema_version"] == 1
    assert restored["parity"]["outputs"][0]["name"] == "output_0"
    assert restored["sizes"]["file_bytes"] == report.file_bytes
    assert restored["layers"][0]["layer"] == "stem"
    text = str(report)
    assert f"{report.file_bytes / 1024:,.1f} KiB" in text
    assert text.count("int8, 4-bit grid     exact") == 1
    assert len(text.splitlines()) <= 4 + len(report.layers) + len(report.warnings)


def test_parity_is_measured_on_the_file_that_was_written(cnn, exports, data):
    report = exports["int8", "int8"]
    actual, expected = LitertModel.open(report.path).predict(data), cnn(data).numpy()
    assert report.parity.max_abs_error == pytest.approx(np.abs(actual - expected).max(), rel=1e-4)
    agreement = np.mean(actual.argmax(1) == expected.argmax(1))
    assert report.parity.worst.agreement == pytest.approx(agreement)


def test_warnings_are_in_plain_words(exports):
    int8 = " ".join(exports["int8", "float32"].warnings)
    assert "sparsity does not speed up integers" in int8
    assert "packed 4-bit integers: 1 of 4 kernels" in int8
    assert "On a grid of 4 bits, stored without loss in bytes and as fast as 8 bits: 1 of 4" in int8
    dynamic = " ".join(exports["dynamic", "float32"].warnings)
    assert "slower than float32 on depthwise" in dynamic
    assert "sparsity" not in " ".join(exports["float32", "float32"].warnings)


def test_an_operator_without_an_int8_kernel_is_reported(tmp_path):
    inputs = keras.Input((6,))
    x = layers.Activation(keras.ops.sin, name="sine")(layers.Dense(5, name="a")(inputs))
    x_data = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    model = small_models.randomize(keras.Model(inputs, layers.Dense(3, name="b")(x)))
    report = export_litert(model, tmp_path / "m.tflite", mode="int8", representative_dataset=x_data)
    stays = [warning for warning in report.warnings if "stay in float32" in warning]
    assert len(stays) == 1
    assert "SIN" in stays[0]
    assert any(note.type == "float32" and "result of" in note.what for note in report.not_int8)


def test_without_data_random_inputs_are_compared_and_it_is_said(tmp_path):
    report = export_litert(small_models.conv_net(), tmp_path / "m.tflite", mode="float16")
    assert report.parity.source == "random"
    assert any("random inputs" in warning for warning in report.warnings)


def test_without_data_integer_inputs_are_zeros(tmp_path):
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(10, 4)(tokens))
    assert export_litert(keras.Model(tokens, x), tmp_path / "m.tflite").parity.passed


def test_large_data_are_sampled_evenly(tmp_path):
    x = np.random.default_rng(0).normal(size=(1500, 12)).astype("float32")
    report = export_litert(
        small_models.dense_net(), tmp_path / "m.tflite", mode="int8", representative_dataset=x
    )
    assert (report.num_calibration_samples, report.parity.num_samples) == (512, 256)


def test_a_compressed_model_is_finalized_first(tmp_path):
    model = small_models.conv_net()
    rules = [Rule("conv", sparsity=0.5, weight_bits=4), Rule("head", weight_bits=8)]
    student = compress(model, Policy(rules))
    x, _ = small_models.images(32)
    settings = {"mode": "int8", "representative_dataset": x}
    from_student = export_litert(student, tmp_path / "a.tflite", **settings)
    from_final = export_litert(finalize(student), tmp_path / "b.tflite", **settings)
    assert from_student.stored_types["conv"] == "int8"
    assert from_student.stored_types["head"] == "int8"
    assert from_student.layers == from_final.layers
    conv = next(entry for entry in from_student.layers if entry.layer == "conv")
    assert conv.nonzero_share == pytest.approx(0.5, abs=0.05)


def bad_cases():
    good = np.zeros((4, 12), "float32")
    nan = np.where(np.eye(4, 12) > 0, np.nan, 0)
    return {
        "no data": ({"mode": "int8"}, "needs `representative_dataset`"),
        "empty": ({"representative_dataset": good[:0]}, "must not be empty"),
        "shape": ({"representative_dataset": good[:, :5]}, r"shape \(N, 12\)"),
        "no batch axis": ({"representative_dataset": good[0]}, "Add a batch axis"),
        "nan": ({"representative_dataset": nan}, "must be finite"),
        "infinite": ({"representative_dataset": good + np.inf}, "must be finite"),
        "keys": ({"representative_dataset": {"x": good}}, r"keys \['input'\]"),
        "mode": ({"mode": "int-8"}, "Did you mean 'int8'"),
        "io_dtype": ({"io_dtype": "uint8"}, "`io_dtype` must be one of"),
        "io_dtype of mode": ({"io_dtype": "int8"}, "must be 'float32' in mode 'float32'"),
        "tolerance": ({"tolerance": 0}, "`tolerance`"),
        "tolerance nan": ({"tolerance": float("nan")}, "`tolerance`"),
    }


@pytest.mark.parametrize("case", bad_cases())
def test_bad_input_is_refused_before_any_work(case, tmp_path, monkeypatch):
    settings, message = bad_cases()[case]
    monkeypatch.delattr("tf_metacompress.deploy.export_job.convert_float")
    with pytest.raises(InvalidArgumentError, match=message):
        export_litert(small_models.dense_net(), tmp_path / "m.tflite", **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", [lambda: 1, "images", [["a"]], [object()], [[1], [2, 3]]])
def test_data_that_are_not_arrays_are_refused(dataset, tmp_path):
    with pytest.raises((ArgumentTypeError, InvalidArgumentError), match="representative_dataset"):
        export_litert(
            small_models.dense_net(), tmp_path / "m.tflite", representative_dataset=dataset
        )


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((np.zeros((3, 5)),), "must be 2 arrays"),
        ((np.zeros((3, 5)), np.zeros((4, 5))), "as many samples"),
        ({"left": np.zeros((3, 5))}, r"keys \['left', 'right'\]"),
    ],
)
def test_data_for_two_inputs(dataset, message, tmp_path):
    with pytest.raises(InvalidArgumentError, match=message):
        export_litert(
            small_models.shared_net(), tmp_path / "m.tflite", representative_dataset=dataset
        )


@pytest.mark.parametrize("make", [list, tuple, lambda pair: {"left": pair[0], "right": pair[1]}])
def test_two_inputs_in_int8(make, tmp_path):
    pair = np.random.default_rng(0).normal(size=(2, 20, 5)).astype("float32")
    report = export_litert(
        small_models.shared_net(),
        tmp_path / "m.tflite",
        mode="int8",
        io_dtype="int8",
        representative_dataset=make(pair),
    )
    assert report.parity.relative_error < 0.1


@pytest.mark.parametrize("kind", ["nested_net", "subclassed_net", "residual_net"])
def test_other_kinds_of_models_in_int8(kind, tmp_path):
    model = getattr(small_models, kind)()
    shape = (6, 6, 2) if kind == "residual_net" else (8, 8, 1)
    x, _ = small_models.images(32, shape=shape)
    report = export_litert(model, tmp_path / "m.tflite", mode="int8", representative_dataset=x)
    assert set(report.stored_types.values()) == {"int8"}
    assert report.layers_not_found == ()


def test_whole_numbers_serve_as_data_for_a_float_input(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (16, 12), dtype=np.uint8)
    report = export_litert(
        small_models.dense_net(), tmp_path / "m.tflite", mode="int8", representative_dataset=[x]
    )
    assert report.parity.passed


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "m.tflite", tmp_path):
        with pytest.raises(InvalidArgumentError):
            export_litert(small_models.dense_net(), path)
    with pytest.raises(ArgumentTypeError):
        export_litert(small_models.dense_net(), None)


def test_paths_with_spaces_and_other_alphabets(tmp_path):
    path = tmp_path / "neue Modelle" / "模型 é.tflite"
    report = export_litert(small_models.dense_net(), path)
    assert report.path == str(path)
    assert LitertModel.open(path).input_names == ("input",)


def test_the_quantizer_s_own_noise_is_held_back_and_nothing_else(tmp_path, capfd, recwarn):
    x = np.random.default_rng(0).normal(size=(60, 12)).astype("float32")
    for mode in ("int8", "dynamic", "float16"):
        export_litert(
            small_models.dense_net(), tmp_path / "m.tflite", mode=mode, representative_dataset=x
        )
    out, err = capfd.readouterr()
    assert out == ""
    assert "%|" not in err
    assert not recwarn.list


def test_other_lines_on_stderr_pass():
    program = (
        "import sys, warnings\n"
        "from tf_metacompress.deploy.litert_noise import known_noise_held_back\n"
        "with known_noise_held_back():\n"
        "    print('Running Calibration:: 5%|#', end='\\r', file=sys.stderr)\n"
        "    print('kept', file=sys.stderr)\n"
        "    warnings.warn('kept too')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "kept\n" in done.stderr
    assert "kept too" in done.stderr
    assert "Calibration" not in done.stderr
