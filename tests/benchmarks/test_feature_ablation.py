"""What the ablation of features reads of a zoo; not its fits."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from tf_metacompress.meta.outcomes import Outcomes, save_outcomes


@pytest.fixture
def ablation(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(next(iter(benchmarks.__path__)))))
    import feature_ablation

    return feature_ablation


def outcomes(loss):
    features, prior = np.zeros((2, 1, 3), "float32"), np.zeros((2, 1), "float32")
    losses = np.array([loss, loss + 1.0])
    return [Outcomes(features=features, prior=prior, informed=prior, losses=losses)]


@pytest.fixture
def folder(tmp_path):
    """Five models, each measured with two sets of numbers, and once before it was trained anew."""
    (tmp_path / "outcomes").mkdir()
    for index in range(5):
        name = f"train-{index:03d}-label-noise"
        entry = {"family": "mlp", "architecture": index}
        (tmp_path / f"{name}.json").write_text(json.dumps({"entry": entry}))
        (tmp_path / f"{name}.keras").write_bytes(bytes([index]))
        now = hashlib.sha256(bytes([index])).hexdigest()[:12]
        for numbers, digest, when in (
            ("1x3x30x80", now, 100),
            ("2x7x30x80", now, 300 - index),
            ("2x7x30x80", "0" * 12, 400),
        ):
            path = tmp_path / "outcomes" / f"{name}-{numbers}-{digest}.npz"
            save_outcomes(path, outcomes(float(when)))
            os.utime(path, (when, when))
    return tmp_path


def test_one_measuring_is_read_the_last_and_of_the_models_as_they_are(ablation, folder, capsys):
    found = ablation.read_outcomes(folder)
    assert sorted(found) == [f"mlp {index}" for index in range(5)]
    assert [float(found[f"mlp {i}"][0].losses[0]) for i in range(5)] == [300, 299, 298, 297, 296]
    assert all(len(each) == 1 for each in found.values())
    told = capsys.readouterr().out
    assert "10 files" in told and "2x7x30x80" in told


def test_nothing_is_said_when_there_is_one_measuring(ablation, folder, capsys):
    for path in (folder / "outcomes").glob("*.npz"):
        if "2x7" not in path.name or "-000000000000" in path.name:
            path.unlink()
    assert len(ablation.read_outcomes(folder)) == 5
    assert not capsys.readouterr().out


def test_a_folder_without_outcomes_of_its_models_is_refused(ablation, folder):
    for path in folder.glob("train-*.keras"):
        path.write_bytes(b"trained anew")
    with pytest.raises(SystemExit, match="no outcomes of its models"):
        ablation.read_outcomes(folder)
