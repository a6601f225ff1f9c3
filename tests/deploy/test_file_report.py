"""What is said of files that were made by hand, so that every count is known."""

import gzip
import hashlib
import json
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.deploy.devices.tiny_file import tiny_file
from tests.deploy.handover.small_files import File, classifier, weights
from tf_metacompress.deploy import (
    ModelMetadata,
    Normalization,
    arena_bytes,
    inspect_litert,
    micro_process,
    write_metadata,
)
from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.file_counts import count_ops, count_types, count_zeros, stored_mode
from tf_metacompress.deploy.file_report import describe_file
from tf_metacompress.deploy.file_tables import printable
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.sizes import nonzero_count
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError

ALL_INSIDE = Delegation(partitions=1, ops_outside=())


def describe(file, delegation=ALL_INSIDE, **changes):
    return describe_file(read_flatfile(file.packed()), "m.tflite", delegation, **changes)


def stack(*layers, act="float32", outputs=None):
    """Dense layers of (stored type, width) on activations of one type."""
    file, scale = File(), None if act == "float32" else 0.5
    x = file.tensor("x", (1, 32), act, scale)
    file.graph.inputs = [x]
    for stored, width in layers:
        integer = stored not in ("float32", "float16")
        values = np.arange(width * 32).reshape(width, 32) % 7
        w = file.tensor(
            "w", values.shape, stored, 0.1 if integer else None, 0, _typed(values, stored)
        )
        if stored == "float16":
            real = file.tensor("real", values.shape, "float32")
            file.op("DEQUANTIZE", [w], [real])
            w = real
        y = file.tensor("y", (1, width), act, scale)
        file.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
        x = y
    file.graph.outputs = [x]
    return file


def _typed(values, stored):
    return values.astype(stored)


def test_counts_of_a_file_made_by_hand(tmp_path):
    path = tmp_path / "ein Modell ü.tflite"
    data = classifier(softmax=True).packed()
    path.write_bytes(data)
    report = inspect_litert(path)
    assert (report.path, report.mode, report.num_subgraphs) == (str(path), "int8", 1)
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    shape = ((1, 3),)
    assert [(e.op, e.version, e.count, e.output_shapes) for e in report.ops] == [
        ("FULLY_CONNECTED", 4, 1, shape),
        ("SOFTMAX", 4, 1, shape),
    ]
    (kind,) = report.types
    assert (kind.type, kind.constants, kind.constant_bytes) == ("int8", 1, 12)
    assert (kind.activations, kind.activation_bytes) == (3, 4 + 3 + 3)
    (weight,) = report.weights
    assert (weight.tensor, weight.op, weight.shape) == ("w", "FULLY_CONNECTED", (3, 4))
    zeros = np.count_nonzero(weights() == 0) / 12
    assert weight.sparsity == pytest.approx(zeros)
    assert report.sparsity == pytest.approx(zeros)
    sizes = report.sizes
    assert (sizes.file_bytes, sizes.constant_bytes, sizes.nonzero_bytes) == (len(data), 12, 11)
    assert sizes.gzip_bytes == len(gzip.compress(data, 9, mtime=0))
    assert [item.name for item in report.signatures[0].inputs] == ["pixels"]
    assert report.delegation.ops_outside + report.delegation.ops_inside == (
        "SOFTMAX",
        "FULLY_CONNECTED",
    )
    assert report.refused is None
    stated = json.loads(report.to_json())
    assert stated["types"][0]["constant_bytes"] == 12
    text = str(report)
    for word in ("FULLY_CONNECTED", "1×3", "8.3%", "pixels", "(q + 3) · 0.5", "it leaves SOFTMAX"):
        assert word in text


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        (stack(("float32", 16)), "float32"),
        (stack(("float16", 16)), "float16"),
        (stack(("int8", 16)), "dynamic"),
        (stack(("int8", 16), act="int8"), "int8"),
        (stack(("int8", 16), act="int16"), "int16x8"),
        (stack(("uint8", 16), act="uint8"), "uint8"),
        (stack(("float32", 16), ("int8", 16)), "mixed"),
        (stack(), "none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_mode_is_read_from_types(file, mode):
    assert stored_mode(read_flatfile(file.packed())) == mode


def test_shared_constants_count_once_and_versions_apart():
    file = stack(("float32", 16), ("float32", 32))
    file.graph.tensors[3].buffer = file.graph.tensors[1].buffer
    file.graph.tensors[3].shape = file.graph.tensors[1].shape
    file.model.operatorCodes[1].version = 9
    read = read_flatfile(file.packed())
    assert [(e.version, e.count) for e in count_ops(read)] == [(4, 1), (9, 1)]
    (kind,) = count_types(read)
    assert (kind.constants, kind.constant_bytes) == (1, 16 * 32 * 4)
    assert len(count_zeros(read)) == 1


def test_a_constant_in_the_sparse_encoding_counts_what_it_leaves_out():
    file = stack(("float32", 16))
    tensor = file.graph.tensors[1]
    tensor.sparsity = schema.SparsityParametersT()
    file.model.buffers[tensor.buffer].data = np.frombuffer(
        np.float32([1, 2, 0, 4]).tobytes(), np.uint8
    )
    read = read_flatfile(file.packed())
    assert nonzero_count(read.main.tensors[1]) == (3, 16 * 32)
    (entry,) = count_zeros(read)
    assert (entry.sparse, entry.sparsity) == (True, 1 - 3 / 512)
    report = describe(file)
    assert report.sizes.nonzero_bytes == 12
    assert any("sparse encoding" in text for text in report.remarks)
    assert not any("stored like any weight" in text for text in report.remarks)


def remarks(file, delegation=ALL_INSIDE):
    return " ".join(describe(file, delegation).remarks)


def test_remarks_say_what_applies_and_nothing_else():
    wide = (("float32", 256), ("float32", 32))
    assert remarks(stack(*wide)) == ""
    assert "no multiple of 16: 24 (1×)." in remarks(stack(("float32", 24), ("float32", 10)))
    assert "24 may take as long as 32" in remarks(stack(("float32", 24), ("float32", 10)))
    assert "multiple" not in remarks(stack(("float32", 10)))
    assert "in float32. " not in remarks(stack(*wide))
    assert "as fast and as large" in remarks(stack(("float16", 256)))
    assert "16-bit activations" in remarks(stack(("int8", 16), act="int16"))
    assert "% of the file are constants" in remarks(stack(("int8", 16), act="int8"))
    left = Delegation(partitions=1, ops_outside=("SOFTMAX",))
    assert "slower kernels: SOFTMAX" in remarks(stack(*wide), left)
    zeros = stack(("int8", 256), act="int8")
    zeros.model.buffers[1].data = np.arange(256 * 32, dtype=np.uint8) % 2
    assert "sparsity does not speed up integers" in remarks(zeros)


def test_dynamic_range_on_depthwise_is_remarked():
    file = stack(("int8", 256))
    file.model.operatorCodes[0].builtinCode = schema.BuiltinOperator.DEPTHWISE_CONV_2D
    file.model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.DEPTHWISE_CONV_2D
    assert "slower than float32 on depthwise" in remarks(file)


def test_an_extent_that_is_only_known_at_run_time_is_remarked():
    file = classifier()
    file.graph.tensors[0].shapeSignature = [-1, 4]
    assert "takes any extent on axis 0" in remarks(file)
    assert "those of (1, 4)." in remarks(file)


def test_what_the_runtime_lacks_is_told_with_the_report(tmp_path):
    path = tmp_path / "custom.tflite"
    file = classifier()
    file.op("CUSTOM", [2], [2], custom="Spar\x1b[2Jkle")
    path.write_bytes(file.packed())
    report = inspect_litert(path)
    assert report.delegation is None
    assert "lacks an operator" in report.refused
    assert report.remarks[0] == report.refused
    assert report.ops[-1].op == "Spar\x1b[2Jkle"
    assert "\x1b" not in str(report) and "does not run it" in str(report)


def test_what_the_runtime_refuses_is_told_with_the_report(tmp_path):
    path = tmp_path / "refused.tflite"
    path.write_bytes(tiny_file("a", op_version=99))
    assert "version '99'" in inspect_litert(path).refused


def test_an_operator_newer_than_the_schema_goes_by_its_number():
    file = classifier()
    file.model.operatorCodes[0].builtinCode = 100_000
    (entry,) = describe(file).ops
    assert entry.op == "BUILTIN_100000"


def test_metadata_are_told(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(classifier().packed())
    scaling = Normalization(mean=(1.0,), std=(2.0,))
    said = ModelMetadata(name="g", labels=("a", "b", "c"), normalization={"pixels": scaling})
    write_metadata(path, said)
    report = inspect_litert(path)
    assert report.metadata == said
    assert report.metadata_names == ("TFMC_METADATA",)
    assert json.loads(report.to_json())["metadata"]["labels"] == ["a", "b", "c"]
    assert "3 labels: a, b, c" in str(report)


def inspected(tmp_path, file):
    path = tmp_path / "m.tflite"
    path.write_bytes(file.packed())
    return inspect_litert(path)


@pytest.mark.skipif(micro_process.micro_version() is None, reason="extra micro is missing")
def test_the_arena_is_that_of_the_microcontroller(tmp_path):
    report = inspected(tmp_path, classifier())
    assert report.arena_bytes == arena_bytes(report.path) > 0
    assert json.loads(report.to_json())["arena_bytes"] == report.arena_bytes
    assert f"TensorFlow Lite Micro: arena {report.arena_bytes / 1024:,.1f} KiB" in str(report)
    assert not any("icro" in text for text in report.remarks)


@pytest.mark.parametrize(
    ("file", "version", "reason"),
    [
        (classifier("uint8"), None, "Received: uint8 weights."),
        (classifier(), None, r"pip install 'tf_metacompress\[micro\]'"),
        (classifier(), "0", "TensorFlow Lite Micro cannot be run. It said: broken"),
    ],
)
def test_why_there_is_no_arena(monkeypatch, tmp_path, file, version, reason):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('broken')")
    monkeypatch.setattr(micro_process, "_PROGRAM", broken)
    for module in ("micro", "micro_process"):
        monkeypatch.setattr(f"tf_metacompress.deploy.{module}.micro_version", lambda: version)
    report = inspected(tmp_path, file)
    assert report.arena_bytes is None
    assert re.search(reason, report.remarks[-1])
    assert "TensorFlow Lite Micro: arena" not in str(report)


def test_a_runtime_that_does_not_tell_is_said_so():
    report = describe(classifier(), None)
    assert "does not tell" in str(report)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, InvalidArgumentError, "No such file"),
        (b"", CorruptFileError, "is empty"),
        (b"text, not a model", CorruptFileError, "not a .tflite file"),
        (classifier().packed()[:300], CorruptFileError, "damaged"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path, content, error, message):
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        inspect_litert(path)


def test_many_weights_are_summed_up():
    text = str(describe(stack(*[("float32", 32)] * 30)))
    assert "and 6 smaller ones of 24.0 KiB together" in text
    assert text.count("FULLY_CONNECTED") == 1 + 24


def test_names_are_made_safe_to_print():
    assert printable("a\nb\x1b[2J\u202e") == "a\ufffdb\ufffd[2J\ufffd"
    assert printable("x" * 60) == "…" + "x" * 47
