"""The small parts of the latency benchmarks; not their timing."""

import numpy as np
import pytest

from tests.policy.layers import layer
from tf_metacompress.policy import LatencyTable, fit_latency, layer_key
from tf_metacompress.policy.action import Action

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def benchmarks_on_path(monkeypatch):
    from benchmarks import latency

    monkeypatch.syspath_prepend(str(latency.Path(latency.__file__).parent))


@pytest.mark.parametrize(
    ("name", "macs"),
    [("ResNet-8", 12_501_632), ("DS-CNN", 2_656_768), ("MobileNetV1-0.25", 7_489_664)],
)
def test_the_nets_are_those_of_mlperf_tiny(name, macs):
    from latency_parts.networks import build

    from tf_metacompress.anatomy import describe

    assert sum(info.macs for info in describe(build(name))) == pytest.approx(macs, rel=0.001)


def test_markdown_gives_times_faster_and_says_what_a_host_is():
    from latency_parts.report import markdown

    row = {"name": "ours", "p50_ms": 0.5, "ratio": 0.5, "ratio_interval": [0.4, 0.8]}
    row |= {"file_bytes": 1000, "macs": 2_000_000, "accuracy": 0.9, "note": "asked for 1 ms"}
    machine = {"cpu": "cogs", "cores": 2, "litert": "9"}
    text = markdown({"machine": machine, "quick": True, "networks": {"net": {"rows": [row]}}})
    assert (
        "| ours | 0.500 | 2.00 | 1.25 to 2.50 | 1,000 | 2.00 M | 90.00% | asked for 1 ms |" in text
    )
    assert "not on-device" in text and "quick run" in text


def test_reference_layers_are_ten_and_no_layer_of_the_nets():
    from latency_parts.networks import NETWORKS, build

    from benchmarks import latency_prediction as bench
    from tf_metacompress.anatomy import compressible_layers

    references = bench.reference_infos()
    known = {layer_key(i) for name in NETWORKS for i in compressible_layers(build(name))}
    assert len(references) == 10
    assert not known & {layer_key(info) for info, _ in references}


def test_judging_gives_rank_correlation_and_errors():
    from benchmarks import latency_prediction as bench

    infos = [layer("d", shape=(8, n), output_shape=(None, n)) for n in (8, 16, 32)]
    entries = {(layer_key(info), Action()): ms for info, ms in zip(infos, (1, 2, 3), strict=True)}
    predictor = fit_latency(LatencyTable(entries, device="d", runtime="r"))
    rows = [{"infos": (info,), "bits": 8, "form": "int8"} for info in infos]
    found = bench.judge(predictor, rows, [1.0, 4.0, 3.0])
    assert found["rank_correlation"] == found["rank_correlation_int8"] == pytest.approx(0.5)
    assert found["predicted_ms"] == [1.0, 2.0, 3.0]
    assert found["largest_relative_error"] == 0.5
    assert np.isnan(found["rank_correlation_float32"])
