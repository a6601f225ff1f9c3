"""Reading both dialects of `benchmark_model`, its result file and its profile of operators."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.devices import canned
from tf_metacompress.deploy.delegation import Delegation
from tf_metacompress.deploy.devices.benchmark_output import read_benchmark_output
from tf_metacompress.deploy.devices.op_profile import read_op_profile, reported_delegation
from tf_metacompress.deploy.devices.remote_shell import last_lines
from tf_metacompress.deploy.devices.wire_format import read_fields
from tf_metacompress.deploy.reported_runs import OpTime, ReportedRuns
from tf_metacompress.errors import DeviceError

MIB = 2**20
TFLITE = ReportedRuns(
    num_runs=50,
    mean_ms=14.5752,
    std_ms=0.321,
    min_ms=14.001,
    max_ms=15.7,
    init_ms=5.685,
    first_ms=18.535,
    num_warmup=5,
    warmup_mean_ms=14.4623,
    footprint_bytes=int(7.25 * MIB),
    peak_bytes=int(12.5 * MIB),
)
LITERT = ReportedRuns(
    num_runs=50,
    mean_ms=85.23,
    std_ms=3.21,
    min_ms=82.1,
    max_ms=92.45,
    init_ms=45.32,
    first_ms=120.45,
    num_warmup=3,
    warmup_mean_ms=98.76,
    footprint_bytes=int(32.4 * MIB),
    peak_bytes=int(35.2 * MIB),
)


def same(read, expected):
    expected, read = expected.to_dict(), read.to_dict()
    assert {name: read[name] is None for name in read} == {n: expected[n] is None for n in expected}
    told = [name for name, value in expected.items() if value is not None]
    assert [read[n] for n in told] == pytest.approx([expected[n] for n in told], rel=1e-9)


def test_the_dialect_in_microseconds():
    same(read_benchmark_output(canned.TFLITE_OLD), TFLITE)


def test_percentiles_that_newer_builds_print():
    read = read_benchmark_output(canned.TFLITE_NEW)
    assert (read.p5_ms, read.p50_ms, read.p95_ms) == pytest.approx((14.1, 14.56, 15.2))


def test_the_dialect_in_milliseconds():
    same(read_benchmark_output(canned.LITERT), LITERT)


def test_statistics_in_microseconds_go_before_the_rounded_block():
    statistics = "count=3 curr=7\ncount=50 first=9 curr=8 min=8 max=9 avg=85231.5 std=1\n"
    assert read_benchmark_output(statistics + canned.LITERT).mean_ms == pytest.approx(85.2315)


def test_the_profile_adds_no_runs():
    same(read_benchmark_output(canned.TFLITE_OLD + canned.CSV), TFLITE)


def test_the_result_file_goes_before_the_text():
    read = read_benchmark_output(canned.TFLITE_OLD, canned.RESULT_FILE)
    assert (read.mean_ms, read.p50_ms, read.p95_ms, read.p5_ms) == (14.5, 14.25, 15.5, 14.125)
    assert (read.num_runs, read.num_warmup, read.first_ms, read.init_ms) == (50, 5, 18.5, 5.5)
    assert (read.footprint_bytes, read.peak_bytes) == (7424 * 1024, int(12.5 * MIB))


def test_the_result_file_alone_is_enough():
    assert read_benchmark_output("", canned.RESULT_FILE).std_ms == 0.25


def test_a_footprint_may_shrink():
    shrunk = canned.result_file({1: 2.0}, {2: -3}, {2: 4})
    assert read_benchmark_output("", shrunk).footprint_bytes == -3072


def test_without_warmup_the_first_run_is_the_first_of_the_timed():
    text = "count=0\ncount=2 first=3000 curr=1000 min=1000 max=3000 avg=2000 std=1000"
    result_file = canned.result_file({1: 2.0, 9: 0.0, 10: 0.0}, {}, {2: 2, 3: 0})
    for read in (read_benchmark_output(text), read_benchmark_output(text, result_file)):
        assert (read.first_ms, read.warmup_mean_ms, read.num_warmup) == (3.0, None, 0)
    assert read_benchmark_output("", result_file).first_ms is None


def test_runs_that_are_all_alike():
    read = read_benchmark_output("count=1 curr=5\ncount=50 curr=12(all same) p5=12 median=12 p95=9")
    assert (read.num_runs, read.mean_ms, read.std_ms, read.max_ms) == (50, 0.012, 0.0, 0.012)
    assert (read.p50_ms, read.num_warmup) == (0.012, 1)


def test_large_means_are_printed_with_an_exponent():
    line = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 9.99242e+06, "
    read = read_benchmark_output(line + "Inference (avg): 8.4e+06")
    assert (read.mean_ms, read.warmup_mean_ms, read.num_runs) == (8400.0, 9992.42, None)


@pytest.mark.parametrize(
    "text",
    ["", "ERROR: Failed to load model\nBenchmarking failed.", "count=0\ncount=0", "count=5"],
)
def test_output_without_runs_is_an_error_that_shows_its_end(text):
    with pytest.raises(DeviceError, match="no timed run") as caught:
        read_benchmark_output(text)
    assert last_lines(text) in str(caught.value)


def test_negative_times_are_refused():
    with pytest.raises(DeviceError, match="negative"):
        read_benchmark_output("", canned.result_file({1: -2.0}, {}, {2: 4}))


def proto_class():
    """The schema again, through protobuf's own library."""
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto2")
    kinds = {"float": 2, "int64": 3, "int32": 5}
    for message, fields in {
        "Latency": [("float", number) for number in range(1, 11)],
        "Memory": [("int64", 1), ("int64", 2), ("float", 3)],
        "Misc": [("float", 1), ("int32", 2), ("int32", 3), ("float", 4)],
    }.items():
        part = file.message_type.add(name=message)
        for kind, number in fields:
            part.field.add(name=f"f{number}", number=number, type=kinds[kind], label=1)
    whole = file.message_type.add(name="Result")
    whole.field.add(name="name", number=1, type=9, label=1)
    for number, message in ((2, "Latency"), (3, "Memory"), (4, "Misc")):
        whole.field.add(name=message, number=number, type=11, label=1, type_name=f".t.{message}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Result"))


def test_the_wire_format_agrees_with_protobuf():
    message = proto_class()(name="ä")
    for number in range(1, 11):
        setattr(message.Latency, f"f{number}", number / 4)
    message.Memory.f2, message.Memory.f3, message.Misc.f2, message.Misc.f3 = -(2**40), 8.5, 50, 5
    read = read_benchmark_output("", message.SerializeToString())
    assert (read.mean_ms, read.min_ms, read.max_ms, read.std_ms) == (0.25, 0.5, 0.75, 1.0)
    assert (read.p50_ms, read.p5_ms, read.p95_ms) == (1.25, 1.5, 1.75)
    assert (read.init_ms, read.first_ms, read.warmup_mean_ms) == (2.0, 2.25, 2.5)
    assert (read.footprint_bytes, read.peak_bytes) == (-(2**50), 8.5 * MIB)
    restored = proto_class().FromString(canned.RESULT_FILE)
    assert (restored.Latency.f5, restored.Misc.f2, restored.name) == (14.25, 50, "name")


@pytest.mark.parametrize("cut", [1, 7, len(canned.RESULT_FILE) - 1])
def test_a_cut_result_file_is_refused(cut):
    with pytest.raises(DeviceError, match="damaged"):
        read_benchmark_output(canned.TFLITE_OLD, canned.RESULT_FILE[:cut])


@settings(max_examples=25)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        list(read_fields(data))
        read_benchmark_output(canned.LITERT, data)
    except DeviceError as error:
        assert str(error)


WORDS = st.sampled_from(
    [*canned.TFLITE_NEW.splitlines(), *canned.LITERT.splitlines(), *canned.CSV.splitlines()]
)
LINES = st.lists(
    st.one_of(WORDS, st.text(max_size=60), st.builds(lambda a, b: a[:b], WORDS, st.integers(0, 90)))
)


@settings(max_examples=25)
@given(LINES)
def test_any_text_is_read_or_refused(lines):
    text = "\n".join(lines)
    try:
        read = read_benchmark_output(text)
        assert read.mean_ms >= 0
        read.to_json()
    except DeviceError as error:
        assert str(error)
    ops = read_op_profile(text)
    assert all(op.calls >= 0 for op in ops)
    reported_delegation(text, ops)


def test_the_profile_as_csv():
    assert read_op_profile(canned.CSV) == (
        OpTime(
            op="Convolution (NHWC, F32) IGEMM",
            name="Delegate/Convolution (NHWC, F32) IGEMM:0",
            mean_ms=4.1,
            calls=1,
        ),
        OpTime(op="TfLiteXNNPackDelegate", name="[conv, relu]:29", mean_ms=4.2, calls=1),
        OpTime(op="RESIZE_BILINEAR", name="[resized, out]:30", mean_ms=1.7, calls=1),
    )


def test_the_profile_as_a_table_with_the_old_column():
    assert [(op.op, op.mean_ms, op.calls) for op in read_op_profile(canned.TABLE)] == [
        ("CONV_2D", 4.169, 1),
        ("DEPTHWISE_CONV_2D", 2.14, 2),
    ]


def test_the_delegation_of_the_device():
    ops = read_op_profile(canned.CSV)
    split = Delegation(partitions=2, ops_outside=("RESIZE_BILINEAR",))
    assert reported_delegation(canned.TFLITE_OLD, ops) == split
    assert reported_delegation(canned.TFLITE_OLD, ()) is None
    whole = canned.TFLITE_OLD.replace("29 out of 31", "31 out of 31").replace("2 partitions", "1 p")
    assert reported_delegation(whole, ()) is None  # a line that is not the tool's
    whole = canned.TFLITE_OLD.replace("29 out of", "31 out of").replace("yielding 2", "yielding 1")
    assert reported_delegation(whole, ()) == Delegation(partitions=1, ops_outside=())
    assert reported_delegation(canned.LITERT, ()) is None
