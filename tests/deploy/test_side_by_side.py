"""Files beside each other."""

import json
from dataclasses import replace

import pytest

from tests.deploy.handover.small_files import classifier
from tf_metacompress.deploy import CountDifference, compare_files
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError


@pytest.fixture
def paths(tmp_path):
    files = {"a.tflite": classifier("float32"), "b.tflite": classifier("int8", softmax=True)}
    for name, file in files.items():
        (tmp_path / name).write_bytes(file.packed())
    return [tmp_path / name for name in files]


def test_sizes_times_and_what_differs(paths):
    result = compare_files([*paths, paths[0]], num_blocks=3, runs_per_block=2)
    assert [report.mode for report in result.files] == ["float32", "int8", "float32"]
    assert result.differences == (
        CountDifference(kind="operator", name="SOFTMAX", counts=(0, 1, 0)),
        CountDifference(kind="constants", name="float32", counts=(1, 0, 1)),
        CountDifference(kind="constants", name="int8", counts=(0, 1, 0)),
        CountDifference(kind="activations", name="float32", counts=(2, 0, 2)),
        CountDifference(kind="activations", name="int8", counts=(0, 3, 0)),
    )
    assert result.timing.num_blocks == 3
    assert [f.delegation for f in result.timing.files] == [r.delegation for r in result.files]
    stated = json.loads(result.to_json())
    assert stated["timing"]["files"][0]["ratio"] == 1.0
    assert stated["files"][1]["sizes"]["constant_bytes"] == 12
    text = str(result)
    assert f"B: {paths[1]}" in text and "time of A = 1" in text
    assert "operator     SOFTMAX  0  1  0" in text
    assert "the same operators and types" in str(replace(result, differences=()))


def test_a_damaged_file_among_them_is_named(paths):
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    with pytest.raises(CorruptFileError, match="b.tflite"):
        compare_files(paths)
    with pytest.raises(InvalidArgumentError, match="at least two"):
        compare_files(paths[:1])
