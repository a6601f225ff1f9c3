"""The same weights and steps give the same masks and grids as tfmot, run in its own process."""

import json

import pytest

from tests.fresh_python import run_script

SCRIPT = "tests/ops/tfmot_parity.py"


def cases(*arguments):
    lines = run_script(SCRIPT, *arguments).splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {entry.pop("case"): entry for entry in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "num_updates"),
    [(("quick",), 8), pytest.param((), 50, marks=pytest.mark.slow)],
    ids=["quick", "all steps and bits"],
)
def test_masks_and_grids_equal_those_of_tfmot(arguments, num_updates):
    found = cases(*arguments)
    assert found.pop("version") == {"tfmot": "0.8.1"}
    # tfmot keeps round-half-even of what stays and all that tie; here the count removed is exact.
    assert found.pop("halves and ties") == {"half": [2, 3], "ties": [8, 4]}
    masks = {case: entry for case, entry in found.items() if "updates" in entry}
    assert sum(entry["updates"] for entry in masks.values()) > num_updates
    assert not [case for case, entry in masks.items() if entry["different"]]
    assert not [case for case, entry in masks.items() if entry["schedule_off"]]
    assert 0.45 < masks["2:4 of 4 axes"]["zeros"] < 0.55 < masks["block constant"]["zeros"] < 0.75
    ranges = [entry["off"] for entry in found.values() if "off" in entry]
    assert len(ranges) == 2 and max(ranges) < 1e-6
    grids = {case: entry for case, entry in found.items() if "worst" in entry}
    assert len(grids) >= 18
    for case, entry in grids.items():
        assert entry["worst"] <= 1.001, case
        assert entry["equal"] > 0.99, case
