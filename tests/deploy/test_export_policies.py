"""Files of several policies from one conversion are those of as many exports."""

import numpy as np
import pytest

from tests import small_models
from tf_metacompress import Policy, Rule
from tf_metacompress.deploy import export_job as job
from tf_metacompress.deploy import export_litert, export_policies
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError

X = np.random.default_rng(0).normal(size=(24, 12)).astype("float32")
EIGHT = Policy([Rule("*", weight_bits=8)])
HALF = Policy([Rule("hidden", weight_bits=32, activation_bits=32), Rule("head", weight_bits=8)])


@pytest.mark.slow
def test_one_conversion_and_the_same_files(tmp_path, monkeypatch):
    model, calls = small_models.dense_net(), []
    convert = job.convert_float
    monkeypatch.setattr(
        job, "convert_float", lambda *args, **kwargs: calls.append(1) or convert(*args, **kwargs)
    )
    policies = {"eight": EIGHT, "half": HALF}
    reports = export_policies(model, tmp_path / "all", policies, representative_dataset=X)
    assert len(calls) == 1
    assert list(reports) == ["eight", "half"]
    assert reports["half"].stored_types == {"hidden": "float32", "head": "int8"}
    for name, policy in policies.items():
        single = export_litert(
            model, tmp_path / name, mode="mixed", policy=policy, representative_dataset=X
        )
        assert single.sha256 == reports[name].sha256
        written = (tmp_path / "all" / f"{name}.tflite").read_bytes()
        assert written == (tmp_path / name).read_bytes()


@pytest.mark.slow
def test_a_file_that_fails_is_reported_but_not_written(tmp_path):
    policies = {"eight": EIGHT, "float": Policy([Rule("*", weight_bits=32, activation_bits=32)])}
    settings = {"representative_dataset": X, "tolerance": 1e-5}
    reports = export_policies(small_models.dense_net(), tmp_path, policies, **settings)
    assert {name: report.parity.passed for name, report in reports.items()} == {
        "eight": False,
        "float": True,
    }
    assert reports["eight"].parity.first_apart.layer == "hidden"
    assert [file.name for file in tmp_path.iterdir()] == ["float.tflite"]


@pytest.mark.parametrize(
    ("policies", "error"),
    [
        ([EIGHT], ArgumentTypeError),
        ({}, InvalidArgumentError),
        ({"a": "int8"}, ArgumentTypeError),
        ({"../a": EIGHT}, InvalidArgumentError),
        ({"a": EIGHT, 3: EIGHT}, InvalidArgumentError),
    ],
)
def test_bad_policies_are_refused_before_any_work(policies, error, tmp_path):
    with pytest.raises(error):
        export_policies(small_models.dense_net(), tmp_path, policies, representative_dataset=X)
    assert list(tmp_path.iterdir()) == []
