"""The run over `keras.applications`: what it writes, and that a failure is a result."""

import json

import pytest

from tests.conformance import applications
from tests.conformance.reference_nets import REFERENCE_NETS
from tests.fresh_python import run_script

RESULT = {
    "model": "MobileNet", "failure": None, "seconds": {"total": 12.4}, "input": [32, 32, 3],
    "compressible": 28, "left_float": {"BatchNormalization": 27}, "fit": True,
    "reload_difference": 0.0, "parity_error": 0.0123, "rounding_error": 0.001,
    "agreement": 0.96875, "size_ratio": 0.3,
}  # fmt: skip
FAILED = {
    "model": "VGG16", "failure": "export: ParityError: too far", "seconds": {"total": 3.0},
    "input": [32, 32, 3], "compressible": 16, "left_float": {}, "fit": True,
    "reload_difference": 0.5,
}  # fmt: skip


def test_the_table_by_hand():
    text = applications.table({"VGG16": FAILED, "MobileNet": RESULT})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert lines[2] == [
        "MobileNet", "32×32×3", "28", "27 BatchNormalization", "yes", "same", "0.001", "0.012",
        "97%", "0.30", "12",
    ]  # fmt: skip
    assert lines[3] == ["VGG16", "32×32×3", "16", "–", "yes", "±0.5", "", "", "", "", "3"]
    assert text.splitlines()[-1] == "- VGG16: export: ParityError: too far"
    assert applications.table({"MobileNet": RESULT}).endswith("No failures.\n")


@pytest.mark.slow
def test_a_crash_is_a_result():
    result = applications.run_one("NoSuchNet", [])
    assert result["model"] == "NoSuchNet"
    assert result["failure"].startswith("exit code 1: AttributeError")
    json.dumps(result)


@pytest.mark.parametrize("name", REFERENCE_NETS)
def test_the_reference_nets_are_those_of_mlperf_tiny(name):
    counts = {
        "MLPerf Tiny ResNet-8": 78_666,
        "MLPerf Tiny DS-CNN": 24_908,
        "MLPerf Tiny MobileNetV1-0.25": 221_794,
        "MLPerf Tiny autoencoder": 269_992,
    }
    model = REFERENCE_NETS[name]()
    assert model.count_params() == counts.get(name, model.count_params())


@pytest.mark.slow
def test_one_model_goes_the_whole_way():
    output = run_script("-m", "tests.conformance.application_run", "MLPerf Tiny DS-CNN")
    result = json.loads(output.strip().splitlines()[-1])
    assert result["failure"] is None
    assert result["stored"] == {"int8": 10}
    assert result["reload_difference"] < 1e-5
    assert result["parity_error"] < 0.25
