"""Equal vectors of a file are stored once, and whoever reads the file sees no difference."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.deploy.handover.small_files import File, classifier, with_appended_constants
from tf_metacompress.deploy.flatreader import read_flatfile
from tf_metacompress.deploy.modes.inner_buffers import repacked, with_inner_buffers
from tf_metacompress.deploy.modes.sharing_builder import SharingBuilder

CHANNELS, LAYERS = 24, 3


def chain(scales):
    """An int8 file of dense layers one behind another, with scales per channel."""
    file, rng = File(), np.random.default_rng(0)
    x = file.graph.inputs = [file.tensor("x", (1, CHANNELS), "int8", 0.5, 3)]
    for number in range(LAYERS):
        kernel = rng.integers(-127, 128, (CHANNELS, CHANNELS)).astype(np.int8)
        w = file.tensor(f"w{number}", kernel.shape, "int8", 1.0, 0, kernel)
        held = file.graph.tensors[w].quantization
        held.scale = scales[number].astype(np.float32)
        held.zeroPoint = np.zeros(CHANNELS, np.int64)
        y = file.tensor(f"y{number}", (1, CHANNELS), "int8", 8.0, -1)
        file.op("FULLY_CONNECTED", [*x, w, -1], [y], schema.FullyConnectedOptionsT())
        x = [y]
    file.graph.outputs = x
    return file


def apart(number=LAYERS):
    return np.random.default_rng(1).uniform(0.01, 0.02, (number, CHANNELS))


def outputs(data):
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    given = np.random.default_rng(2).integers(-128, 128, (20, 1, CHANNELS)).astype(np.int8)
    found = []
    for sample in given:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.array(found)


def described(file):
    """All that a file says of its tensors, as values that can be compared."""
    return [
        {name: np.asarray(value).tolist() for name, value in vars(tensor).items()}
        for tensor in file.main.tensors
    ]


def test_a_vector_is_written_once_for_each_type_and_content():
    builder = SharingBuilder(8)
    ones = np.ones(6, np.int32)
    first = builder.CreateNumpyVector(ones)
    assert builder.CreateNumpyVector(np.ones(12, np.int32)[::2]) == first
    others = [np.ones(7, np.int32), np.full(6, 2, np.int32), np.zeros(6, np.int64)]
    same_bytes = [np.zeros(12, np.int32), np.zeros(12, np.float32)]
    assert len({first, *map(builder.CreateNumpyVector, others + same_bytes)}) == 6


@pytest.mark.parametrize("vector", [np.ones(400, np.uint8), np.ones(4, np.int32)])
def test_constants_and_short_vectors_are_written_each_time(vector):
    builder = SharingBuilder(8)
    assert builder.CreateNumpyVector(vector) < builder.CreateNumpyVector(vector)


@pytest.mark.parametrize(
    ("scales", "each"), [(apart(), (8,)), (np.repeat(apart(1), LAYERS, 0), (8, 4))]
)
def test_a_file_loses_the_copies_and_nothing_else(scales, each):
    whole = chain(scales).packed()
    small = repacked(whole)
    copies = sum((LAYERS - 1) * size * CHANNELS for size in each)
    lengths_and_gaps = len(whole) - len(small) - copies
    assert 4 <= lengths_and_gaps / (LAYERS - 1) / len(each) <= 12
    before, after = read_flatfile(whole), read_flatfile(small)
    assert described(after) == described(before)
    assert after.main.ops == before.main.ops
    found = outputs(small)
    assert np.array_equal(found, outputs(whole))
    assert len(np.unique(found)) > 20


def test_packing_again_changes_no_byte():
    small = repacked(chain(apart()).packed())
    assert repacked(small) == small == with_inner_buffers(small)


def test_vectors_lie_at_multiples_of_their_item_size():
    model = schema.Model.GetRootAs(repacked(chain(apart()).packed()), 0)
    graph = model.Subgraphs(0)
    for index in range(graph.TensorsLength()):
        table = graph.Tensors(index).Quantization()._tab
        assert table.Vector(table.Offset(8)) % 4 == 0
        assert table.Vector(table.Offset(10)) % 8 == 0


def test_constants_behind_the_flatbuffer_come_inside():
    whole = classifier().packed()
    assert repacked(with_appended_constants(whole)) == repacked(whole)


def test_scales_that_many_tensors_share_are_no_damage():
    file = File()
    kernel = np.ones((2000, 1), np.int8)
    scale, zeros = np.full(2000, 0.1, np.float32), np.zeros(2000, np.int64)
    for number in range(40):
        index = file.tensor(f"w{number}", kernel.shape, "int8", 1.0, 0, kernel)
        held = file.graph.tensors[index].quantization
        held.scale, held.zeroPoint = scale, zeros
    file.graph.inputs = file.graph.outputs = [0]
    builder = SharingBuilder(1024)
    builder.Finish(file.model.Pack(builder), b"TFL3")
    (found,) = {len(t.scales) for t in read_flatfile(bytes(builder.Output())).main.tensors}
    assert found == 2000
