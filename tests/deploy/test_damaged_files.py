"""Damaged files given to every door: an error of ours or an answer, never the caller's end.

The many are read in a process of their own, so that a crash would be a failed test.
"""

import json

import pytest

from tests.deploy.handover.small_files import classifier, with_appended_constants
from tests.deploy.mutants import mutants
from tests.deploy.test_litert_process import endless
from tests.fresh_python import run_script
from tf_metacompress.deploy import ModelMetadata, benchmark, inspect_litert, measure_sizes
from tf_metacompress.deploy.file_report import describe_file
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.metadata_entry import with_entry
from tf_metacompress.deploy.model_metadata import METADATA_ENTRY, metadata_of, with_metadata
from tf_metacompress.deploy.modes.inner_buffers import with_inner_buffers
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError

NUM_MUTANTS = 100


def whole_files():
    said = ModelMetadata(name="gestures", labels=("no", "yes", "maybe"))
    return {
        "int8": with_metadata(classifier(softmax=True).packed(), said),
        "behind": with_appended_constants(classifier().packed()),
        "loop": endless(goes_on=False),
    }


@pytest.mark.parametrize("kind", whole_files())
def test_a_few_damaged_files_are_read_or_refused(kind):
    refused = 0
    for mutant in mutants(whole_files()[kind], 40):
        try:
            str(describe_file(read_flatfile(mutant), "m.tflite", None))
            with_inner_buffers(mutant)
        except CorruptFileError:
            refused += 1
    assert 5 < refused < 40


def with_length(data, place, length):
    return data[:place] + length.to_bytes(4, "little") + data[place + 4 :]


def test_no_length_field_makes_reading_take_long_or_much():
    """Every word of a file in turn is made a huge length."""
    data = classifier().packed()
    for place in range(8, len(data) - 4, 4):
        for length in (2**31 - 1, 2**32 - 1):
            try:
                measure_sizes(with_length(data, place, length))
            except CorruptFileError as error:
                assert f"of {len(data)} bytes" in str(error)


def test_one_name_for_very_many_tensors_is_refused():
    """Names that all reach to the end of the file: together they are far larger than it."""
    file = classifier()
    for number in range(3000):
        file.tensor(f"{number:04}", (1,), "int8")
    data = bytearray(file.packed())
    where = [data.find(b"%04d\0" % number) - 4 for number in range(3000)]
    assert min(where) > 0
    for place in where:
        data[place : place + 4] = (len(data) - place - 4).to_bytes(4, "little")
    with pytest.raises(CorruptFileError, match="damaged"):
        read_flatfile(bytes(data))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: path.mkdir(), InvalidArgumentError, "Is a directory"),
        (lambda path: path.symlink_to("/dev/zero"), CorruptFileError, "not a .tflite"),
        (lambda path: path.symlink_to(path), InvalidArgumentError, "symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused(tmp_path, make, error, message):
    path = tmp_path / "m.tflite"
    make(path)
    for door in (inspect_litert, benchmark):
        with pytest.raises(error, match=message):
            door(path)


@pytest.mark.parametrize(
    ("start", "error"), [(b"", CorruptFileError), (b"\x1c\0\0\0TFL3", InvalidArgumentError)]
)
def test_a_file_larger_than_the_format_is_refused_without_reading_it(tmp_path, start, error):
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.write(start)
        file.truncate(2**40)
    with pytest.raises(error, match="huge.tflite"):
        inspect_litert(path)


def test_metadata_nested_too_deep_are_damaged():
    data = with_entry(classifier().packed(), METADATA_ENTRY, b"[" * 100_000)
    with pytest.raises(CorruptFileError, match="not JSON"):
        metadata_of(data)


DOORS = """
import json, pathlib, sys
from tests.deploy.mutants import mutants
from tf_metacompress import deploy
from tf_metacompress.errors import MetacompressError

whole, count, folder = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
path = folder / "mutant.tflite"
always = {
    "read_metadata": lambda turn: deploy.read_metadata(path),
    "c_array": lambda turn: deploy.export_c_array(path, folder / "c", arena_bytes=1),
}
in_turn = {
    "inspect": lambda turn: str(deploy.inspect_litert(path)),
    "benchmark": lambda turn: deploy.benchmark(path, num_runs=2),
    "compare": lambda turn: str(
        deploy.compare_files([whole, path], num_blocks=3, runs_per_block=1)
    ),
    "bundle": lambda turn: deploy.bundle_android(path, folder / f"bundle {turn}"),
    "micro": lambda turn: str(deploy.measure_micro(path)),
}
told = {name: [0, 0] for name in (*always, *in_turn)}
for turn, mutant in enumerate(mutants(whole.read_bytes(), count, seed=1)):
    path.write_bytes(mutant)
    name = list(in_turn)[turn % len(in_turn)]
    for name, door in {**always, name: in_turn[name]}.items():
        try:
            door(turn)
            told[name][0] += 1
        except MetacompressError as error:
            assert str(error)
            told[name][1] += 1
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", whole_files())
def test_hundreds_of_damaged_files_at_every_door(tmp_path, kind):
    whole = tmp_path / "whole.tflite"
    whole.write_bytes(whole_files()[kind])
    out = run_script("-c", DOORS, str(whole), str(NUM_MUTANTS), str(tmp_path), timeout=115)
    told = json.loads(out)
    assert sum(map(sum, told.values())) == 3 * NUM_MUTANTS
    assert all(refused for _, refused in told.values())
    assert told["inspect"][0] and told["read_metadata"][0]
