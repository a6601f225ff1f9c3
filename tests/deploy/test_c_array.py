"""C source of a model: a compiler takes it, and the bytes in the object are those of the file."""

import hashlib
import shutil
import subprocess

import numpy as np
import pytest

from tests.deploy.handover.small_files import File, classifier, with_appended_constants
from tf_metacompress.deploy import export_c_array
from tf_metacompress.deploy.micro_ops import METHODS
from tf_metacompress.errors import (
    CorruptFileError,
    InvalidArgumentError,
    UnsupportedModelError,
)

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="gcc is missing")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
RESOLVER = """
#pragma once
enum TfLiteStatus {{ kTfLiteOk, kTfLiteError }};
namespace tflite {{
template <unsigned int n>
struct MicroMutableOpResolver {{
  {methods}
}};
}}
"""


@pytest.fixture(autouse=True)
def no_micro(monkeypatch):
    """As without the extra `micro`; tests/deploy/test_micro.py has it."""
    monkeypatch.setattr("tf_metacompress.deploy.micro.micro_version", lambda: None)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model file.tflite"
    path.write_bytes(classifier(softmax=True).packed())
    return path


def gcc(*words, cwd):
    done = subprocess.run([GCC, *words], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@needs_gcc
@pytest.mark.parametrize("appended", [False, True])
def test_the_compiled_array_is_the_file(tmp_path, model, appended):
    if appended:
        model.write_bytes(with_appended_constants(model.read_bytes()))
    report = export_c_array(model, tmp_path / "c", name="gestures")
    probe = tmp_path / "c" / "probe.c"
    probe.write_text(
        '#include <stdio.h>\n#include "gestures.h"\n'
        "int main(void) {\n"
        "  fwrite(gestures_bytes, 1, gestures_num_bytes, stdout);\n"
        "  return (int)((unsigned long)gestures_bytes % 16);\n}\n"
    )
    gcc(*STRICT, "-c", "gestures.c", "-o", "gestures.o", cwd=tmp_path / "c")
    gcc(*STRICT, "probe.c", "gestures.o", "-o", "probe", cwd=tmp_path / "c")
    done = subprocess.run([tmp_path / "c" / "probe"], capture_output=True, timeout=60, check=True)
    assert hashlib.sha256(done.stdout).hexdigest() == report.sha256
    assert len(done.stdout) == report.model_bytes
    assert (done.stdout == model.read_bytes()) is not appended
    assert report.methods == ("AddFullyConnected", "AddSoftmax")


@needs_gcc
def test_the_resolver_registers_each_operator_and_fits(tmp_path, model):
    report = export_c_array(model, tmp_path, name="m", arena_bytes=24272)
    methods = (f"TfLiteStatus {name}() {{ return kTfLiteOk; }}" for name in METHODS.values())
    header = tmp_path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header.parent.mkdir(parents=True)
    header.write_text(RESOLVER.format(methods="\n  ".join(methods)))
    (tmp_path / "use.cc").write_text(
        '#include "m.h"\n#include "m_ops.h"\n'
        f'static_assert(m_num_ops == {len(report.methods)}, "");\n'
        'static_assert(M_ARENA_BYTES == 24272, "");\n'
        "TfLiteStatus f() {\n"
        "  tflite::MicroMutableOpResolver<m_num_ops> resolver;\n"
        "  return m_register_ops(resolver);\n}\n"
    )
    gcc(
        "-x",
        "c++",
        "-std=c++17",
        "-Wall",
        "-Werror",
        "-fsyntax-only",
        "-I.",
        "use.cc",
        cwd=tmp_path,
    )


def test_irregular_names_are_those_of_the_resolver():
    """Read off the header of TensorFlow Lite Micro."""
    expected = {
        "ADD_N": "AddAddN",
        "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
        "CONV_2D": "AddConv2D",
        "CUMSUM": "AddCumSum",
        "L2_NORMALIZATION": "AddL2Normalization",
        "LOG_SOFTMAX": "AddLogSoftmax",
        "PADV2": "AddPadV2",
        "RELU6": "AddRelu6",
        "SPLIT_V": "AddSplitV",
        "SELECT_V2": "AddSelectV2",
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    }
    assert {name: METHODS[name] for name in expected} == expected


def test_the_arena_is_left_to_the_reader_when_it_is_not_known(tmp_path, model):
    export_c_array(model, tmp_path)
    text = (tmp_path / "model.h").read_text()
    assert "#define MODEL_ARENA_BYTES" not in text
    assert "-DMODEL_ARENA_BYTES=" in text


def custom_op():
    file = File()
    x, y = (file.tensor(name, (1, 4), "float32") for name in "xy")
    file.op("CUSTOM", [x], [y], custom="MyOwnOp")
    file.op("RANDOM_UNIFORM", [y], [x])
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


def hybrid():
    file = classifier("float32")
    file.tensor("w8", (3, 4), "int8", 0.1, 0, np.ones((3, 4), np.int8))
    file.graph.operators[0].inputs[1] = 3
    return file.packed()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (custom_op, "Received: MyOwnOp, RANDOM_UNIFORM"),
        (hybrid, "integer weights with float activations"),
    ],
)
def test_what_has_no_kernel_is_named_before_anything_is_written(tmp_path, make, message):
    path = tmp_path / "m.tflite"
    path.write_bytes(make())
    with pytest.raises(UnsupportedModelError, match=message):
        export_c_array(path, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["", "2d", "a-b", "../a", "ünit", "a b", "x;", None])
def test_a_name_must_be_c(tmp_path, model, name):
    with pytest.raises(InvalidArgumentError, match="C identifier"):
        export_c_array(model, tmp_path, name=name)


def test_bad_input_is_refused(tmp_path, model):
    with pytest.raises(InvalidArgumentError):
        export_c_array(model, tmp_path, arena_bytes=0)
    with pytest.raises(CorruptFileError):
        model.write_text("no model")
        export_c_array(model, tmp_path)
    with pytest.raises(InvalidArgumentError, match="Cannot read"):
        export_c_array(tmp_path / "none.tflite", tmp_path)
