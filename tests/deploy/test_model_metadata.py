"""Metadata in a file: found by every reader, and nothing else in the file is changed."""

import json

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.handover.small_files import (
    INPUT_SCALE,
    INPUT_ZERO,
    NUM_CLASSES,
    classifier,
    with_appended_constants,
)
from tf_metacompress.deploy import (
    LitertModel,
    ModelMetadata,
    Normalization,
    read_metadata,
    write_metadata,
)
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.metadata_entry import read_entry, with_entry, without_entry
from tf_metacompress.deploy.model_metadata import (
    METADATA_ENTRY,
    metadata_json,
    metadata_of,
    with_metadata,
)
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
)

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32") * 20
FULL = ModelMetadata(
    name="gestures",
    labels=("no", "yes – ja", "может"),
    normalization={"pixels": Normalization(mean=(127.5,), std=(63.0,))},
    softmax=True,
    policy={"rules": []},
    source="m.keras",
    source_sha256="ab" * 32,
    versions={"keras": "3.15.1"},
)


def appended():
    return with_appended_constants(classifier().packed())


FILES = {
    "int8": lambda: classifier().packed(),
    "float": lambda: classifier("float32", key=None).packed(),
    "constants behind the flatbuffer": appended,
    "an archive behind the file": lambda: appended() + b"PK\x05\x06" + bytes(18),
}


def outputs(data):
    return LitertModel.open(data, trusted=True).run(X)


def others_view(data):
    """What the generated schema classes, which know nothing of us, find: name to content."""
    model = schema.ModelT.InitFromPackedBuf(data)
    return {
        entry.name.decode(): bytes(np.asarray(model.buffers[entry.buffer].data, np.uint8))
        for entry in model.metadata or []
    }


@pytest.mark.parametrize("kind", FILES)
def test_a_file_with_metadata_computes_the_same_bits(kind):
    plain = FILES[kind]()
    marked = with_entry(plain, "NOTE", b"text")
    for name, value in outputs(plain).items():
        np.testing.assert_array_equal(outputs(marked)[name], value)
    assert others_view(marked) == {"NOTE": b"text"}
    assert without_entry(marked, "NOTE") == plain
    assert len(marked) - len(plain) < 300


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=8, deadline=None)
@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
def test_adding_twice_is_adding_once(kind, first, second):
    plain = FILES[kind]()
    marked = with_entry(plain, "NOTE", second)
    assert with_entry(with_entry(plain, "NOTE", first), "NOTE", second) == marked
    assert with_entry(marked, "NOTE", second) == marked
    assert read_entry(marked, "NOTE") == second
    assert without_entry(marked, "NOTE") == plain


def test_two_entries_live_side_by_side_and_constants_keep_their_alignment():
    plain = appended()
    marked = with_entry(with_entry(plain, "ONE", b"1"), "TWO", b"22" * 20)
    assert others_view(marked) == {"ONE": b"1", "TWO": b"22" * 20}
    weights, earlier = (read_flatfile(data).main.tensors[1].data for data in (marked, plain))
    np.testing.assert_array_equal(weights, earlier)
    assert marked.endswith(plain[-len(plain) // 2 :])
    assert (len(marked) - len(plain)) % 16 == 0


def test_an_entry_in_a_file_that_another_tool_packed_again_is_replaced():
    model = schema.ModelT.InitFromPackedBuf(with_entry(classifier().packed(), "NOTE", b"old"))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    packed = bytes(builder.Output())
    marked = with_entry(packed, "NOTE", b"new")
    assert others_view(marked) == {"NOTE": b"new"}
    assert with_entry(marked, "NOTE", b"new") == marked


def test_large_options_behind_the_flatbuffer_move_along():
    file = classifier()
    file.graph.operators[0].largeCustomOptionsOffset = 4096
    file.graph.operators[0].largeCustomOptionsSize = 8
    plain = file.packed()
    marked = with_entry(plain, "NOTE", b"text")
    op = schema.Model.GetRootAs(marked, 0).Subgraphs(0).Operators(0)
    assert op.LargeCustomOptionsOffset() == 4096 + len(marked) - len(plain)
    assert without_entry(marked, "NOTE") == plain


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_and_nothing_else(data):
    whole = bytearray(with_metadata(classifier().packed(), FULL))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for read in (metadata_of, lambda damaged: with_entry(damaged, "NOTE", b"text")):
        try:
            read(bytes(whole))
        except CorruptFileError as error:
            assert "Received" in str(error) or METADATA_ENTRY in str(error)


def test_metadata_come_back_from_the_disk_and_in_the_open(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(classifier().packed())
    assert read_metadata(path) is None
    write_metadata(path, FULL)
    first = path.read_bytes()
    assert read_metadata(path) == FULL
    write_metadata(path, FULL)
    assert path.read_bytes() == first
    assert "yes – ja".encode() in first
    stated = json.loads(others_view(first)[METADATA_ENTRY])
    assert stated["labels"] == list(FULL.labels)
    pixels = stated["signatures"][0]["inputs"][0]
    assert (pixels["name"], pixels["type"]) == ("pixels", "int8")
    assert (pixels["scale"], pixels["zero_point"]) == (INPUT_SCALE, INPUT_ZERO)
    assert metadata_json(first, FULL) == metadata_json(classifier().packed(), FULL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("a", "b")}, "labels=2, values=3"),
        ({"labels": ("a", "b\nc", "d")}, "one line"),
        ({"labels": ("a", " ", "d")}, "one line"),
        ({"labels": ("a", "\ud800", "d")}, "valid Unicode"),
        ({"normalization": {"pixel": Normalization()}}, "Did you mean 'pixels'"),
        ({"normalization": {"pixels": Normalization(mean=(0, 0), std=(1, 1))}}, "last axis"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        with_metadata(classifier().packed(), ModelMetadata(**changes))


def test_softmax_is_not_taken_twice():
    with pytest.raises(InvalidArgumentError, match="made_by='SOFTMAX'"):
        with_metadata(classifier(softmax=True).packed(), ModelMetadata(softmax=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (1,), "std": (1, 2)},
        {"std": (0,)},
        {"mean": (float("nan"),)},
        {"mean": (), "std": ()},
    ],
)
def test_a_normalisation_must_make_sense(wrong):
    with pytest.raises(InvalidArgumentError):
        Normalization(**wrong)


def test_types_are_checked():
    with pytest.raises(ArgumentTypeError):
        ModelMetadata(labels="abc")
    with pytest.raises(ArgumentTypeError):
        ModelMetadata(normalization={"x": (0, 1)})
    with pytest.raises(ArgumentTypeError):
        Normalization(mean=1.0)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema_version": 9}', b"\xff"])
def test_damaged_metadata_are_named(content):
    marked = with_entry(classifier().packed(), METADATA_ENTRY, content)
    with pytest.raises(CorruptFileError):
        metadata_of(marked)
    assert len(outputs(marked)["scores"][0]) == NUM_CLASSES
