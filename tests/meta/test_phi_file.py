"""Φ on disk: what was saved comes back, anything else is refused in words."""

import json
import zipfile

import numpy as np
import pytest

from tests.small_models import randomize, residual_net
from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.meta import InnerLoop, MetaCompressor
from tf_metacompress.meta.features import NUM_FEATURES
from tf_metacompress.policy import Budget, action_grid


def trained():
    compressor = MetaCompressor(
        hidden=(6, 5),
        num_heads=2,
        actions=action_grid((0.0, 0.5, 0.8), (8, 32)),
        inner_loop=InnerLoop(inner_steps=3, inner_lr=(0.2, 0.01), first_order=True),
        temperature=0.1,
        seed=7,
    )
    generator = np.random.default_rng(0)
    compressor.phi = tuple(w + generator.normal(0, 0.3, w.shape) for w in compressor.phi)
    compressor.meta_steps = 12
    return compressor


@pytest.fixture
def path(tmp_path):
    trained().save(tmp_path / "phi.npz")
    return tmp_path / "phi.npz"


def test_what_was_saved_comes_back(path):
    before, after = trained(), MetaCompressor.load(path)
    for one, other in zip(before.phi, after.phi, strict=True):
        np.testing.assert_array_equal(one, other)
    names = ("hidden", "num_heads", "actions", "inner_loop", "temperature", "seed", "meta_steps")
    for name in names:
        assert getattr(after, name) == getattr(before, name), name
    model, budget = randomize(residual_net()), Budget(size_ratio=0.9)
    assert after.propose(model, budget) == before.propose(model, budget)


def test_saving_is_whole_or_not_at_all(path, monkeypatch):
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        trained().save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["phi.npz"]


def test_a_place_that_cannot_be_written_is_an_error(path):
    with pytest.raises(InvalidArgumentError):
        trained().save(path / "phi.npz")  # below a file


def rewrite(path, change):
    """Changes the arrays of a file, the header among them as a dict."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    arrays = change(header, arrays) or arrays
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def weights(header, arrays):
    arrays["weight_0"] = arrays["weight_0"] + 1e-3


def reshaped(header, arrays):
    arrays["weight_0"] = arrays["weight_0"].reshape(-1)


def fewer(header, arrays):
    del arrays["weight_5"]


def config(header, arrays):
    header["config"]["temperature"] = 5.0


@pytest.mark.parametrize("change", [weights, reshaped, fewer, config])
def test_a_tampered_file_is_refused(path, change):
    rewrite(path, change)
    with pytest.raises(CorruptFileError, match="checksum|readable"):
        MetaCompressor.load(path)


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 1), ("num_features", NUM_FEATURES + 1)]
)
def test_a_file_of_another_version_is_refused(path, key, value):
    rewrite(path, lambda header, arrays: header.update({key: value}))
    with pytest.raises(CorruptFileError, match=f"{key}={value}"):
        MetaCompressor.load(path)


def no_zip(path):
    path.write_bytes(b"not an archive")


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def other_archive(path):
    np.savez(path, weights=np.zeros(3))


def pickled(path):
    np.savez(path, header=np.array([{"a": 1}], dtype=object))


def header_without_json(path):
    np.savez(path, header=np.frombuffer(b"{]", np.uint8))


def header_of_a_list(path):
    np.savez(path, header=np.frombuffer(b"[1]", np.uint8))


def foreign_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")


def plain_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [no_zip, empty, cut, other_archive, pickled, header_without_json, header_of_a_list,
     foreign_zip, plain_array],
)  # fmt: skip
def test_a_damaged_file_is_refused(path, damage):
    damage(path)
    with pytest.raises(CorruptFileError) as raised:
        MetaCompressor.load(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="missing.npz"):
        MetaCompressor.load(tmp_path / "missing.npz")


def test_one_wrong_byte_never_changes_what_is_loaded(path):
    data, expected = path.read_bytes(), trained()
    refused = 0
    for position in range(0, len(data), 37):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            found = MetaCompressor.load(path)
        except CorruptFileError:
            refused += 1
            continue
        assert found.temperature == expected.temperature and found.actions == expected.actions
        for one, other in zip(found.phi, expected.phi, strict=True):
            np.testing.assert_array_equal(one, other)
    assert refused > 50
