"""The generated Kotlin, compiled by the real compiler and run on a JVM against the test vector.

Runs where `java`, `javac` and a Kotlin compiler are: `KOTLIN_JARS` names a folder with the
compiler's jars, such as that of the package `kotlin-jupyter-kernel`. No Android is needed.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.deploy.handover.jvm_stubs import STUBS
from tests.deploy.handover.small_files import File, classifier
from tf_metacompress.deploy import ModelMetadata, Normalization, bundle_android

JARS = Path(os.environ.get("KOTLIN_JARS", "."))
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        "KOTLIN_JARS" not in os.environ or not shutil.which("javac"),
        reason="no Kotlin compiler: KOTLIN_JARS names the folder of its jars",
    ),
]
STRANGE = ModelMetadata(
    name='a "strange" $name\n',
    labels=("no", "5 $ {x}", "„ü“"),
    softmax=True,
    normalization={"pixels": Normalization(mean=(1, 2, 3, 4), std=(0.3, 0.7, 1.1, 1.3))},
)


def many_types():
    """Every type that is stored, by position, names that must be escaped."""
    file = File()
    pairs = []
    scales = {"float32": None, "int8": 0.3, "uint8": 0.7, "int16": 0.001, "int32": None}
    for dtype, scale in {**scales, "int64": None}.items():
        zero = 0 if dtype == "int16" else 3
        pairs.append([file.tensor(f'{end} ${dtype} "', (1, 5), dtype, scale, zero) for end in "xy"])
        options = schema.ReshapeOptionsT()
        options.newShape = [1, 5]
        file.op("RESHAPE", [pairs[-1][0]], [pairs[-1][1]], options, version=1)
    file.graph.inputs, file.graph.outputs = map(list, zip(*pairs, strict=True))
    return file.packed()


CASES = {
    "classifier": (lambda: classifier().packed(), STRANGE),
    "float": (
        lambda: classifier("float32", softmax=True).packed(),
        ModelMetadata(labels=("a", "b", "c")),
    ),
    "types": (many_types, ModelMetadata()),
}


def sample(case):
    if case != "types":
        return None
    generator = np.random.default_rng(1)
    return {
        f'x ${dtype} "': generator.uniform(-300, 300, (1, 5)).astype("float32")
        for dtype in ("float32", "int8", "uint8", "int16", "int32", "int64")
    }


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_the_kotlin_does_what_python_does(tmp_path, case):
    make, metadata = CASES[case]
    (tmp_path / "m.tflite").write_bytes(make())
    folder = tmp_path / "bundle"
    report = bundle_android(tmp_path / "m.tflite", folder, metadata=metadata, sample=sample(case))
    for name, text in STUBS.items():
        (tmp_path / "stubs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stubs" / name).write_text(text)
    stubs = sorted(map(str, (tmp_path / "stubs").rglob("*.java")))
    run("javac", "-d", str(tmp_path / "java"), *stubs)
    stdlib = str(next(JARS.glob("kotlin-stdlib*.jar")))
    sources = [str(folder / name) for name in report.files if name.endswith(".kt")]
    path = os.pathsep.join([str(tmp_path / "java"), stdlib])
    kotlin = ("-no-stdlib", "-no-reflect", "-Werror", "-cp", path, "-d", str(tmp_path / "kotlin"))
    run("java", "-Xmx600m", "-cp", f"{JARS}/*", COMPILER, *kotlin, *sources)
    vector = json.loads((folder / "vector/vector.json").read_text())
    parts = {}
    for end, items in (("in", vector["inputs"]), ("out", vector["outputs"])):
        for number, item in enumerate(items):
            stem = item["stored_file"].removesuffix(".stored")
            parts |= {f"{end}{number}": stem, f"{end}:{item['name']}": stem}
    out = run(
        "java",
        f"-Dbundle={folder}",
        f"-Dparts={';'.join(f'{key}={stem}' for key, stem in parts.items())}",
        f"-Dkey={vector['signature']}",
        "-cp",
        os.pathsep.join([path, str(tmp_path / "kotlin")]),
        "RunTests",
        f"{report.package}.{report.class_name}Test",
    )
    assert out.count("passed") == (3 if case == "types" else 4)
