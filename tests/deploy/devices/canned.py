"""What `benchmark_model` prints and writes in both dialects, laid out as in its sources."""

import struct

TFLITE = """\
STARTING!
Log parameter values verbosely: [0]
Min num runs: [50]
Num threads: [4]
Graph: [/data/local/tmp/x/model.tflite]
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: Replacing 29 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 \
partitions for subgraph 0.
The input model file size (MB): 4.27635
Initialized session in 5.685ms.
Running benchmark for at least 5 iterations and at least 0 seconds but terminate if exceeding 150 \
seconds.
count=5 first=18535 curr=13000 min=12990 max=18535 avg=14462.3 std=2041

Running benchmark for at least 50 iterations and at least 0 seconds but terminate if exceeding \
150 seconds.
count=50 first=14600 curr=14575 min=14001 max=15700 avg=14575.2 std=321{percentiles}

Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, Inference \
(avg): 14575.2
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to \
the actual memory footprint of the model at runtime. Take the information at your discretion.
Memory footprint delta from the start of the tool (MB): init=3.5 overall=7.25
Overall peak memory footprint (MB) via periodic monitoring: 12.5
Memory status at the end of exeution:
- VmRSS              : 12 MB
"""
PERCENTILES = " p5=14100 median=14560 p95=15200"
TFLITE_OLD = TFLITE.format(percentiles="")
TFLITE_NEW = TFLITE.format(percentiles=PERCENTILES)

LITERT = """\
INFO: [benchmark_litert_model.h:65]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:66] Model initialization: 45.32 ms
INFO: [benchmark_litert_model.h:67] Warmup (first):       120.45 ms
INFO: [benchmark_litert_model.h:69] Warmup (avg):         98.76 ms (3 runs)
INFO: [benchmark_litert_model.h:71] Inference (avg):      85.23 ms (50 runs)
INFO: [benchmark_litert_model.h:75] Inference (min):      82.10 ms
INFO: [benchmark_litert_model.h:77] Inference (max):      92.45 ms
INFO: [benchmark_litert_model.h:79] Inference (std):      3.21
INFO: [benchmark_litert_model.h:87] Throughput:           12.45 MB/s
INFO: [benchmark_litert_model.h:97]
Memory Usage:
INFO: [benchmark_litert_model.h:98] Init footprint:       25.60 MB
INFO: [benchmark_litert_model.h:100] Overall footprint:    32.40 MB
INFO: [benchmark_litert_model.h:105] Peak memory:          35.20 MB
INFO: [benchmark_litert_model.h:111] ======================================
"""

_RUN_ORDER = "============================== Run Order =============================="
_BY_TIME = "============================== Top by Computation Time =============================="
CSV = f"""\
Profiling Info for Benchmark Initialization:
{_RUN_ORDER}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.5, 0.5, 100%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
{_RUN_ORDER}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, F32) IGEMM, 4.2, 4.1, 41%, 41%, 0, 1, Delegate/Convolution (NHWC\t F32) IGEMM:0
TfLiteXNNPackDelegate, 4.3, 4.2, 42%, 83%, 0, 1, [conv, relu]:29
RESIZE_BILINEAR, 1.8, 1.7, 17%, 100%, 0, 1, [resized\t out]:30

{_BY_TIME}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 4.3, 4.2, 42%, 42%, 0, 1, [conv, relu]:29

Number of nodes executed: 3
Timings (microseconds): count=50 first=10300 curr=10000 min=9990 max=10400 avg=10000 std=30
Memory (bytes): count=0
3 nodes observed
"""
TABLE = f"""\
INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
{_RUN_ORDER}
\t[node type]\t  [start]\t  [first]\t [avg ms]\t  [%]\t  [cdf%]\t [mem KB]\t[times called]\t[Name]
\t   CONV_2D\t    0.000\t    4.269\t    4.169\t  0.1%\t  0.107%\t     0.000\t   1\t[Conv2d_0/Relu6]
\t DEPTHWISE_CONV_2D\t 4.2\t    2.150\t    2.140\t  0.1%\t  0.161%\t     0.000\t   2\t[dw]

"""


def _varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _message(fields):
    parts = []
    for number, value in fields.items():
        if isinstance(value, bytes):
            parts += [_varint(number << 3 | 2), _varint(len(value)), value]
        elif isinstance(value, float):
            parts += [_varint(number << 3 | 5), struct.pack("<f", value)]
        else:
            parts += [_varint(number << 3), _varint(value % 2**64)]
    return b"".join(parts)


def result_file(latency, memory, misc):
    """Encodes a BenchmarkResult from dicts of field numbers."""
    parts = {1: b"name", 2: _message(latency), 3: _message(memory), 4: _message(misc)}
    return _message(parts)


LATENCY = dict(enumerate([14.5, 14.0, 15.75, 0.25, 14.25, 14.125, 15.5, 5.5, 18.5, 15.0], 1))
RESULT_FILE = result_file(LATENCY, {1: 3584, 2: 7424, 3: 12.5}, {1: 4.25, 2: 50, 3: 5, 4: 1.5})
