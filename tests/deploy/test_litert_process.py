"""Files run in a process of their own: what it measures, and what its end tells."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.deploy.devices.tiny_file import tiny_file
from tests.deploy.handover.small_files import File, classifier
from tf_metacompress.deploy import LitertModel, benchmark, bundle_android, compare
from tf_metacompress.deploy.delegation import delegation_of
from tf_metacompress.deploy.litert_process import (
    Turns,
    refusal,
    run_in_process,
    run_samples,
    try_in_process,
)
from tf_metacompress.errors import CorruptFileError, UnsupportedModelError


def endless(goes_on=True):
    """A file that goes on as long as a number equals itself, or not at all."""
    file = File()
    x, y = (file.tensor(name, (1,), "float32") for name in "xy")
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    file.op("WHILE", [x], [y], options, version=1)
    file.graph.inputs, file.graph.outputs = [x], [y]
    for name, dtype in (("EQUAL" if goes_on else "LESS", "bool"), ("ABS", "float32")):
        file.graph = schema.SubGraphT()
        file.graph.tensors, file.graph.operators, file.graph.name = [], [], name
        file.model.subgraphs.append(file.graph)
        x, y = file.tensor("a", (1,), "float32"), file.tensor("b", (1,), dtype)
        file.op(name, [x, x] if dtype == "bool" else [x], [y], version=1)
        file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


def crashing():
    """A file whose sum has a scale on which the runtime aborts instead of reporting it."""
    file = File()
    x = file.tensor("x", (1, 4), "int8", 0.5)
    y = file.tensor("y", (1, 4), "int8", 1e-9)
    file.op("ADD", [x, x], [y], schema.AddOptionsT(), version=2)
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file.packed()


def test_without_xnnpack_nothing_is_delegated(tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(classifier(softmax=True).packed())
    plain = benchmark(path, device="host-without-xnnpack", num_runs=2)
    assert (plain.device, plain.delegation.partitions) == ("host-without-xnnpack", 0)
    usual = benchmark(path, num_runs=2)
    assert (usual.device, usual.delegation.partitions) == ("host", 1)


def test_turns_runs_and_operators():
    datas = [classifier(softmax=True).packed(), tiny_file("a")]
    turns = Turns(num_warmup=2, num_blocks=3, runs_per_block=4)
    run = run_in_process(datas, ["a", "b"], turns)
    for file in run.files:
        assert np.shape(file.warmup_ms) == (2,)
        assert np.shape(file.blocks_ms) == (3, 4)
        assert min(file.init_ms, *file.warmup_ms, *np.ravel(file.blocks_ms)) > 0
    assert 2**20 < run.base_rss_bytes <= run.peak_rss_bytes
    opened = LitertModel.open(datas[0], trusted=True)
    expected = delegation_of(opened.op_details())
    assert delegation_of(run.files[0].operators) == expected


def test_given_inputs_go_in_and_outputs_come_out():
    x = np.array([[1, -2, 3, -4, 5, -6, 7, -8]], np.float32)
    x = np.stack([x, -2 * x, x + 3])
    outputs, run = run_samples(tiny_file("a"), "a", {0: x})
    np.testing.assert_array_equal(outputs[1], np.maximum(x, 0))
    assert len(outputs) == 1 and run.operators
    with pytest.raises(CorruptFileError, match="refuses .* Received: a"):
        run_samples(tiny_file("a"), "a", {0: x[..., :3]})


def test_a_crash_is_an_error_that_names_the_file(tmp_path):
    paths = [tmp_path / "whole.tflite", tmp_path / "ünter wegs.tflite"]
    for path, data in zip(paths, (tiny_file("a"), crashing()), strict=True):
        path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"a crash \(SIGABRT\). Received: .*ünter wegs"):
        compare(paths)
    with pytest.raises(CorruptFileError, match=r"a crash \(SIGABRT\)"):
        bundle_android(paths[1], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_file_that_never_finishes_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("tf_metacompress.deploy.litert_process._PATIENCE_S", 1)
    path = tmp_path / "endless.tflite"
    path.write_bytes(endless())
    with pytest.raises(CorruptFileError, match="no answer within 1 s. Received: .*endless.tflite"):
        benchmark(path)


def test_a_process_that_cannot_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('no memory')")
    monkeypatch.setattr("tf_metacompress.deploy.litert_process._PROGRAM", program)
    with pytest.raises(CorruptFileError, match="no memory. Received: a.tflite"):
        try_in_process(tiny_file(), "a.tflite")


@pytest.mark.slow
def test_what_needs_more_memory_than_there_is_is_refused():
    file = File()
    x, y = (file.tensor(name, (2**20, 2**18), "float32") for name in "xy")
    file.op("RELU", [x], [y], version=1)
    file.graph.inputs, file.graph.outputs = [x], [y]
    with pytest.raises(CorruptFileError, match="huge.tflite"):
        try_in_process(file.packed(), "huge.tflite")


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("Encountered unresolved custom op: X.", UnsupportedModelError),
        ("Select regular TensorFlow ops are not supported", UnsupportedModelError),
        ("Didn't find op for builtin opcode 'ADD' version '9'.\n Failed.", UnsupportedModelError),
        ("Node number 3 failed to prepare.", CorruptFileError),
    ],
)
def test_a_refusal_tells_a_lacking_operator_from_damage(reason, error):
    refused = refusal(reason, "m.tflite")
    assert isinstance(refused, error)
    assert " ".join(reason.split()).rstrip(".") + ". Received: m.tflite." in str(refused)
