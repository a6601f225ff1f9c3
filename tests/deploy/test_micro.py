"""A file on TensorFlow Lite Micro, its arena and outputs against what can be known otherwise."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.deploy.handover.small_files import INPUT_SCALE, INPUT_ZERO, File, classifier
from tests.deploy.test_litert_process import crashing
from tf_metacompress.deploy import (
    arena_bytes,
    bundle_android,
    export_c_array,
    measure_micro,
    micro,
    micro_ops,
    micro_process,
)
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.micro_ops import METHODS
from tf_metacompress.errors import (
    CorruptFileError,
    DeviceError,
    InvalidArgumentError,
    UnsupportedModelError,
)

VERSION = micro_process.micro_version()
needs_micro = pytest.mark.skipif(VERSION is None, reason="tflite-micro is missing (extra micro)")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a model.tflite"
    file.write_bytes(classifier(softmax=True).packed())
    return file


@needs_micro
@pytest.mark.slow
def test_arena_operators_and_outputs(path, tmp_path):
    report = measure_micro(path, np.zeros((3, 4), np.float32))
    assert report.runtime == f"tflite-micro {VERSION}"
    assert dict(report.ops) == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert report.methods == ("AddFullyConnected", "AddSoftmax")
    assert report.used_bytes == report.head_bytes + report.tail_bytes <= report.arena_bytes
    assert report.arena_bytes % 16 == 0
    assert 0 < sum(report.parts.values()) <= report.tail_bytes
    parity = report.parity
    assert (parity.num_samples, parity.source, parity.passed) == (3, "inputs", True)
    assert parity.max_abs_error <= 1.01 / 256
    assert json.loads(report.to_json())["arena_bytes"] == report.arena_bytes
    assert f"arena {report.arena_bytes:,} B" in str(report)


def packed_dense(scales):
    """A dense layer of 4-bit weights."""
    file = File()
    x, y = (file.tensor(name, (1, 4), "int8", 0.5) for name in "xy")
    w = file.tensor("w", (4, 4), "int4", 0.1, 0, np.full(8, 0x11, np.int8))
    quantization = file.graph.tensors[w].quantization
    quantization.scale, quantization.zeroPoint = [0.1] * scales, [0] * scales
    file.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


@needs_micro
@pytest.mark.slow
class TestOnMicro:
    """With the real runtime."""

    def test_the_arena_is_enough_and_no_smaller_one_is(self, path):
        needed = arena_bytes(path)
        program = (
            "import sys\nfrom tflite_micro.python.tflite_micro import runtime\n"
            "data = open(sys.argv[1], 'rb').read()\n"
            "runtime.Interpreter.from_bytes(data, arena_size=int(sys.argv[2])).invoke()\n"
        )
        codes = [
            subprocess.run(
                [sys.executable, "-c", program, path, str(size)], capture_output=True
            ).returncode
            for size in (needed, needed - 16)
        ]
        assert codes == [0, 1]

    def test_the_outputs_are_those_of_the_kernel_on_paper(self, path, tmp_path):
        file = classifier()
        path.write_bytes(file.packed())
        stored = np.random.default_rng(3).integers(-128, 128, (5, 1, 4)).astype(np.int8)
        ran = micro_process.run_micro(read_flatfile(path.read_bytes()), [stored], "m")
        real = (stored[:, 0].astype(float) - INPUT_ZERO) * INPUT_SCALE
        weights = np.frombuffer(bytes(file.model.buffers[1].data), np.int8).reshape(3, 4) * 0.1
        expected = np.clip(np.round(real @ weights.T / 1.25) + 7, -128, 127)
        assert np.abs(ran.outputs[0][:, 0] - expected).max() <= 1

    def test_a_wrong_file_would_be_noticed(self, path, monkeypatch):
        """Parity can fail: LiteRT runs other weights than the microcontroller."""
        other = classifier("float32")
        path.write_bytes(other.packed())
        truth = micro.run_samples

        def other_weights(*words):
            outputs, run = truth(*words)
            return {index: values + 1 for index, values in outputs.items()}, run

        monkeypatch.setattr(micro, "run_samples", other_weights)
        report = measure_micro(path)
        assert not report.parity.passed
        assert report.parity.max_abs_error == pytest.approx(1, abs=1e-4)

    def test_several_inputs_are_told_apart(self, tmp_path):
        file = File()
        x, y, z = (file.tensor(name, (1, 4), "float32") for name in "xyz")
        file.op("SUB", [x, y], [z], schema.SubOptionsT(), version=1)
        file.graph.inputs, file.graph.outputs = [x, y], [z]
        file.sign("serving_default", {"b": y, "a": x}, {"difference": z})
        path = tmp_path / "two.tflite"
        path.write_bytes(file.packed())
        report = measure_micro(path)
        assert report.parity.max_abs_error == 0.0
        assert report.parity.outputs[0].name == "difference"

    def test_the_header_states_the_measured_arena(self, path, tmp_path):
        needed = arena_bytes(path)
        report = export_c_array(path, tmp_path / "c", name="m")
        text = (tmp_path / "c" / "m.h").read_text()
        assert report.arena_bytes == needed
        assert f"#define M_ARENA_BYTES {needed}u\n" in text
        assert f"tflite-micro {VERSION}" in text

    def test_the_page_of_a_bundle_states_it(self, path, tmp_path):
        bundle_android(path, tmp_path / "app")
        page = (tmp_path / "app" / "README.md").read_text()
        assert f"would need an arena of {arena_bytes(path):,} B" in page

    def test_packed_dense_layers_run_with_one_scale_only(self, path, monkeypatch):
        path.write_bytes(packed_dense(scales=1))
        assert measure_micro(path).parity.passed
        monkeypatch.setattr(micro_ops, "_packed_by_channel", lambda op, graph: False)
        path.write_bytes(packed_dense(scales=4))
        with pytest.raises(UnsupportedModelError, match="FULLY_CONNECTED .* failed to prepare"):
            measure_micro(path)

    def test_what_the_runtime_refuses_says_why(self, path):
        file = classifier()
        file.graph.tensors[0].type = schema.TensorType.INT16
        path.write_bytes(file.packed())
        with pytest.raises(UnsupportedModelError, match="FULLY_CONNECTED .* failed to prepare"):
            arena_bytes(path)
        with pytest.raises(UnsupportedModelError):
            export_c_array(path, path.parent / "c")
        assert not (path.parent / "c").exists()

    def test_every_operator_with_a_method_is_known_to_the_runtime(self, tmp_path):
        """Each operator in a file of its own, loaded in a process of its own."""
        names = {n for n in vars(schema.BuiltinOperator) if n[0] != "_"} - {"CUSTOM", "DELEGATE"}
        for name in names:
            file = File()
            x, y = (file.tensor(n, (1, 4), "float32") for n in "xy")
            file.op(name, [x], [y])
            file.graph.inputs, file.graph.outputs = [x], [y]
            (tmp_path / name).write_bytes(file.packed())
        done = subprocess.run(
            [sys.executable, "-c", LOAD_EACH, str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert set(json.loads(done.stdout)) == METHODS.keys() & names


LOAD_EACH = """
import json, os, sys, tempfile
from tflite_micro.python.tflite_micro import runtime
known = []
for name in os.listdir(sys.argv[1]):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            try:
                runtime.Interpreter.from_bytes(data, arena_size=100_000)
            except RuntimeError:
                pass
            os._exit(0)
        os.waitpid(child, 0)
        said.seek(0)
        if b"Didn't find op" not in said.read():
            known.append(name)
print(json.dumps(known))
"""


def fake_program(monkeypatch, tmp_path, text):
    program = tmp_path / "program.py"
    program.write_text(text)
    monkeypatch.setattr(micro_process, "_PROGRAM", program)
    monkeypatch.setattr(micro_process, "micro_version", lambda: "0")
    monkeypatch.setattr("tf_metacompress.deploy.micro.micro_version", lambda: "0")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("import os; os.abort()", UnsupportedModelError, r"crashes \(SIGABRT\)"),
        ("import sys; sys.exit('no kernel')", DeviceError, "cannot be run. It said: no kernel"),
        ("print('hello')", DeviceError, "cannot be run"),
    ],
)
def test_a_crash_is_an_error_here(monkeypatch, tmp_path, path, text, error, message):
    fake_program(monkeypatch, tmp_path, text)
    with pytest.raises(error, match=message):
        arena_bytes(path)


def test_a_run_that_never_ends_is_given_up(monkeypatch, tmp_path, path):
    fake_program(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(micro_process, "_TIMEOUT_S", 0.2)
    with pytest.raises(UnsupportedModelError, match="no answer within 0 s"):
        arena_bytes(path)


def test_without_the_extra(monkeypatch, path):
    monkeypatch.setattr(micro_process, "micro_version", lambda: None)
    monkeypatch.setattr("tf_metacompress.deploy.micro.micro_version", lambda: None)
    assert arena_bytes(path) is None
    with pytest.raises(DeviceError, match=r"pip install 'tf_metacompress\[micro\]'") as caught:
        micro_process.run_micro(read_flatfile(path.read_bytes()), (), "m")
    assert caught.value.reason == "missing"


def test_what_has_no_kernel_is_named_before_anything_is_run(monkeypatch, tmp_path, path):
    fake_program(monkeypatch, tmp_path, "raise SystemExit('was run')")
    file = classifier("float32")
    file.op("RANDOM_UNIFORM", [2], [0])
    path.write_bytes(file.packed())
    for use in (arena_bytes, measure_micro):
        with pytest.raises(UnsupportedModelError, match="Received: RANDOM_UNIFORM"):
            use(path)
    path.write_bytes(classifier("uint8").packed())
    with pytest.raises(UnsupportedModelError, match="uint8 weights"):
        arena_bytes(path)
    path.write_bytes(packed_dense(scales=4))
    with pytest.raises(UnsupportedModelError, match="4-bit weights of dense layers with a scale"):
        arena_bytes(path)


@pytest.mark.parametrize("shape", [(2, 4), (4,), (1, 0), (1, 2**30)])
def test_inputs_that_cannot_be_drawn_are_refused(path, shape):
    path.write_bytes(classifier(shape=shape).packed())
    with pytest.raises(UnsupportedModelError, match="Received: pixels"):
        measure_micro(path)


def test_a_crash_of_litert_is_an_error_here(path):
    path.write_bytes(crashing())
    with pytest.raises(CorruptFileError, match=r"a crash \(SIGABRT\)"):
        measure_micro(path)


def test_bad_input_is_refused(path):
    for inputs in (np.zeros((3, 5)), {"other": np.zeros((3, 4))}, np.zeros((0, 4))):
        with pytest.raises(InvalidArgumentError, match="must fit the file's inputs"):
            measure_micro(path, inputs)
    with pytest.raises(InvalidArgumentError, match="tolerance"):
        measure_micro(path, tolerance=0)
    with pytest.raises(InvalidArgumentError, match="Cannot read"):
        arena_bytes(path.parent / "none")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptFileError):
        arena_bytes(path)
