"""The Φ that ships with the package: small, described, and refused when touched."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from tests.fresh_python import ROOT
from tests.small_models import dense_net, randomize
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.meta import MetaCompressor, pretrained
from tf_metacompress.policy import Budget

ENTRIES = {"summary": "a test", "trained_on": [], "held_out": [], "figures": {}, "command": "none"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of what ships, read instead of it."""
    copy = tmp_path / "data"
    shutil.copytree(pretrained.FOLDER, copy)
    monkeypatch.setattr(pretrained, "FOLDER", copy)
    return copy


def test_it_loads_and_proposes():
    compressor = MetaCompressor.pretrained()
    model = randomize(dense_net())
    policy = compressor.propose(model, Budget(size_ratio=0.8))
    assert policy.provenance["meta_steps"] == compressor.card["meta_steps"]


def test_its_card_tells_the_truth_about_the_file():
    compressor = MetaCompressor.pretrained()
    card, content = compressor.card, (pretrained.FOLDER / pretrained.PHI).read_bytes()
    assert set(pretrained.CARD_KEYS) <= set(card)
    assert card["meta_steps"] == compressor.meta_steps
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["size_bytes"] == len(content) <= 500_000
    moved = any(np.any(weight) for weight in compressor.phi[-2:])
    assert moved == (card["meta_steps"] > 0 or card["summary"].startswith("Fitted to outcomes"))
    assert moved or "untrained" in card["summary"].lower()


def test_it_is_package_data():
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    for name in (pretrained.PHI, pretrained.CARD):
        assert f"data/{name}" in text and (pretrained.FOLDER / name).is_file()


def test_only_a_pretrained_one_has_a_card():
    assert MetaCompressor().card is None


@pytest.mark.parametrize("name", [pretrained.PHI, pretrained.CARD])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(CorruptFileError, match=rf"{name}.*Install the package again"):
        MetaCompressor.pretrained()


def changed_weights(folder):
    MetaCompressor(seed=1).save(folder / pretrained.PHI)


def changed_card(folder):
    card = json.loads((folder / pretrained.CARD).read_text())
    (folder / pretrained.CARD).write_text(json.dumps({**card, "sha256": "0" * 64}))


def card_without_figures(folder):
    card = json.loads((folder / pretrained.CARD).read_text())
    del card["figures"]
    (folder / pretrained.CARD).write_text(json.dumps(card))


def card_of_a_list(folder):
    (folder / pretrained.CARD).write_text("[]")


def card_of_no_json(folder):
    (folder / pretrained.CARD).write_text("{")


@pytest.mark.parametrize(
    "change", [changed_weights, changed_card, card_without_figures, card_of_a_list, card_of_no_json]
)
def test_a_changed_file_is_refused(folder, change):
    change(folder)
    with pytest.raises(CorruptFileError, match="nstall the package again"):
        MetaCompressor.pretrained()


def test_a_new_phi_ships_with_a_new_card(folder):
    compressor = MetaCompressor(hidden=(4,), num_heads=2, seed=5)
    compressor.meta_steps = 7
    compressor.save(folder / pretrained.PHI)
    card = pretrained.write_card(folder, **ENTRIES)
    found = MetaCompressor.pretrained()
    assert found.card == card and found.meta_steps == card["meta_steps"] == 7
    for one, other in zip(found.phi, compressor.phi, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_ship_is_an_error(folder):
    with pytest.raises(InvalidArgumentError, match=r"lacks.*figures"):
        pretrained.write_card(folder, **{k: v for k, v in ENTRIES.items() if k != "figures"})
    MetaCompressor(hidden=(128, 128)).save(folder / pretrained.PHI)
    with pytest.raises(InvalidArgumentError, match="at most 500,000 bytes"):
        pretrained.write_card(folder, **ENTRIES)
    (folder / pretrained.PHI).write_bytes(b"no archive")
    with pytest.raises(CorruptFileError, match="readable"):
        pretrained.write_card(folder, **ENTRIES)
