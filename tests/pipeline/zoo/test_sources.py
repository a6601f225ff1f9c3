"""Data at hand, from files, and divided so that models and tasks do not share examples."""

import zipfile

import numpy as np
import pytest

from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.pipeline import Dataset, load_dataset
from tf_metacompress.pipeline.zoo import load_source, meta_train_sources, sources_at_hand
from tf_metacompress.pipeline.zoo.recipes import VARIANTS, Entry, LabelNoise, shares


@pytest.fixture
def no_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "datasets"


def entry(variant="as-is", source="digits"):
    return Entry(
        index=0, split="train", family="mlp", source=source, variant=variant, architecture=1, seed=7
    )


def rows(x):
    return {row.tobytes() for row in x}


def test_without_files_there_are_the_digits(no_downloads):
    assert sources_at_hand() == ("digits", "digits_rows") == tuple(meta_train_sources())
    images, series = load_source("digits").train[0], load_source("digits_rows").train[0]
    np.testing.assert_array_equal(images[5, 2, :, 0], series[5, 2])
    with pytest.raises(InvalidArgumentError, match="not at hand.*mnist=FILE"):
        load_source("mnist")


def test_what_keras_has_downloaded_is_at_hand_but_fashion_is_never_learned_from(no_downloads):
    for name in ("mnist.npz", "fashion-mnist/train-images-idx3-ubyte.gz"):
        (no_downloads / name).parent.mkdir(parents=True, exist_ok=True)
        (no_downloads / name).write_bytes(b"")
    assert set(sources_at_hand()) == {"digits", "digits_rows", "mnist", "fashion_mnist"}


def save(path, x, y):
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    return path


def test_raw_pixels_get_a_channel_and_the_unit_range(tmp_path):
    x = np.arange(4 * 6 * 6).reshape(4, 6, 6).astype("uint8")
    loaded = load_source("mnist", save(tmp_path / "m.npz", x, np.array([0, 1, 0, 1])))
    np.testing.assert_allclose(loaded.train[0][..., 0], x / 255.0, rtol=1e-6)


TS = "@problemName x\n@classLabel true a b\n@data\n1,2,3:4,5,7:a\n3,1,2:9,5,7:b\n"


def test_series_come_from_a_zip_of_two_files(tmp_path):
    path = tmp_path / "motions.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X_TRAIN.ts", TS)
        archive.writestr("X_TEST.ts", TS)
    x, y = load_source("basic_motions", path).train
    assert x.shape == (2, 3, 2) and y.tolist() == [0, 1]
    np.testing.assert_allclose(x.mean(axis=(0, 1)), 0.0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(0, 1)), 1.0, rtol=1e-4)


def test_files_that_do_not_serve_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 cut")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("X_TRAIN.ts", TS)
    flat = save(tmp_path / "flat.npz", np.zeros((4, 3)), np.arange(4))
    for path, error, message in (
        (tmp_path / "none.npz", InvalidArgumentError, "no such data file"),
        (tmp_path / "a.txt", InvalidArgumentError, "npz file, or a .zip"),
        (tmp_path / "cut.zip", CorruptFileError, "not a readable .zip"),
        (tmp_path / "one.zip", InvalidArgumentError, "ends in TEST.ts"),
        (flat, InvalidArgumentError, r"shape=\(4, 3\)"),
    ):
        with pytest.raises(error, match=message):
            load_source("mine", path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_large_source_is_divided_without_overlap(variant):
    given = shares(entry(variant), load_dataset("digits"))
    parts = [rows(pair[0]) for pair in (given.train, given.support, given.query)]
    if variant not in ("noise",):  # every noisy copy differs; below the originals are compared
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert len(given.train[0]) > len(given.support[0]) > 100
    assert max(given.train[1].max(), given.query[1].max()) < given.num_classes == 10
    again = shares(entry(variant), load_dataset("digits"))
    np.testing.assert_array_equal(given.train[0], again.train[0])
    np.testing.assert_array_equal(given.train[1], again.train[1])


def test_no_example_is_in_two_shares_whatever_the_variant_does_to_it():
    x = np.arange(1200, dtype="float32")[:, None, None, None] * np.ones((1, 2, 2, 1), "float32")
    data = Dataset("numbered", (x, np.arange(1200) % 10), (x[:5], np.arange(5)))
    given = shares(entry(source="numbered"), data)
    numbers = [pair[0][:, 0, 0, 0] for pair in (given.train, given.support, given.query)]
    joined = np.concatenate(numbers)
    assert len(np.unique(joined)) == len(joined) == 1200


def test_a_small_source_is_judged_on_its_test_set():
    x = np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")
    y = np.arange(40) % 4
    given = shares(entry("noise", "mine"), Dataset("mine", (x, y), (x[:8] + 5.0, y[:8])))
    assert len(given.train[0]) == len(given.support[0]) == 40
    assert given.query[0].shape == (8, 10, 3) and given.query[0].mean() > 2.0


def test_only_labels_to_train_on_are_noisy():
    x, y = np.zeros((5000, 1)), np.arange(5000) % 10
    _, noisy = LabelNoise(fraction=0.2)(x, y, 0)
    assert abs(np.mean(noisy != y) - 0.2 * 0.9) < 0.02
    data = load_dataset("digits")
    plain, wrong = shares(entry(), data), shares(entry("label-noise"), data)
    np.testing.assert_array_equal(plain.query[1], wrong.query[1])
    assert 0.05 < np.mean(plain.train[1] != wrong.train[1]) < 0.25
