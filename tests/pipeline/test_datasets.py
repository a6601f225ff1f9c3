"""Data sets by name and from files, whole and broken."""

import keras
import numpy as np
import pytest

from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.pipeline import DATASETS, load_dataset, load_npz


def arrays(**changes):
    generator = np.random.default_rng(0)
    whole = {
        "x_train": generator.random((12, 4, 4, 1)),
        "y_train": np.arange(12) % 3,
        "x_test": generator.random((6, 4, 4, 1)),
        "y_test": np.arange(6) % 3,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def saved(path, **changes):
    np.savez(path / "data.npz", **arrays(**changes))
    return path / "data.npz"


def test_the_digits_are_split_as_the_demo_promises():
    data = load_dataset("digits")
    assert data.train[0].shape == (1437, 8, 8, 1)
    assert data.test[0].shape == (360, 8, 8, 1)
    assert data.train[0].dtype == np.float32
    assert data.train[0].min() >= 0.0 and data.train[0].max() == 1.0
    assert data.num_classes == 10
    assert np.bincount(data.test[1]).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]


def test_a_file_of_the_users_own_is_taken_as_it_is(tmp_path):
    data = load_npz(saved(tmp_path, y_train=np.arange(12.0)[:, None] % 3))
    assert data.name == "data"
    assert data.input_shape == (4, 4, 1)
    assert data.num_classes == 3
    assert data.train[1].dtype == np.int64 and data.train[1].shape == (12,)
    np.testing.assert_allclose(data.train[0], arrays()["x_train"], atol=1e-7)


def test_the_fingerprint_follows_the_contents(tmp_path):
    first = load_npz(saved(tmp_path)).fingerprint()
    assert first == load_npz(saved(tmp_path)).fingerprint()
    assert first != load_npz(saved(tmp_path, y_test=np.zeros(6, int))).fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, "must hold the arrays.*missing=.'x_test'"),
        ({"x_train": np.zeros((0, 4, 4, 1)), "y_train": np.zeros(0, int)}, "must not be empty"),
        ({"y_train": np.arange(11)}, "one label per input.*inputs=12, labels=11"),
        ({"y_train": np.eye(12)[:, :3]}, "one class index.*argmax"),
        ({"y_train": np.arange(12) + 0.5}, "one class index"),
        ({"y_test": -np.arange(6)}, "negative"),
        ({"y_test": -np.arange(6.0)}, "0 or above"),
        ({"y_test": np.full(6, 2**40)}, "class indices.*largest=1099511627776"),
        ({"y_train": np.array(["a"] * 12)}, "numbers"),
        ({"y_train": np.array(3)}, "axis of examples"),
        ({"x_train": np.full((12, 4, 4, 1), np.nan)}, "finite"),
        ({"x_train": np.full((12, 4, 4, 1), 1e300)}, "fit into float32"),
        ({"x_train": np.zeros((12, 4, 4, 1), complex)}, "real numbers.*complex128"),
        ({"x_test": np.zeros((6, 4, 5, 1))}, r"same shape.*x_test=\(6, 4, 5, 1\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        load_npz(saved(tmp_path, **changes))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match="no such data file.*none.npz"):
        load_npz(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x_train = 1", b"\x93NUMPY\x01\x00"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="not a readable .npz file.*Received: path="):
        load_npz(path)


def test_a_single_array_and_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", **arrays(y_train=np.array([object()] * 12)))
    for name in ("one.npy", "objects.npz"):
        with pytest.raises(CorruptFileError, match="not a readable .npz file"):
            load_npz(tmp_path / name)


def test_a_damaged_file_never_gives_another_kind_of_error(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for position in generator.integers(len(whole), size=3):
            damaged[position] = generator.integers(256)
        path.write_bytes(bytes(damaged[: generator.integers(len(whole) // 2, len(whole))]))
        with pytest.raises(InvalidArgumentError):
            load_npz(path)


def test_a_data_set_of_an_unknown_name_gets_the_near_one():
    with pytest.raises(InvalidArgumentError, match="Did you mean 'fashion_mnist'"):
        load_dataset("fashion-mnist")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_without_a_network_the_error_says_what_to_do(monkeypatch, name):
    def offline():
        raise Exception("URL fetch failure on\nhttps://example.org: None -- unreachable")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", offline)
    with pytest.raises(InvalidArgumentError, match="URL fetch failure on https.*KERAS_HOME"):
        load_dataset(name)


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28)), ("cifar10", (32, 32, 3))])
def test_keras_data_are_scaled_and_given_a_channel(monkeypatch, name, shape):
    x, y = np.full((4, *shape), 255, np.uint8), np.array([[0], [1], [0], [1]], np.uint8)
    module = getattr(keras.datasets, name)
    monkeypatch.setattr(module, "load_data", lambda: ((x, y), (x[:2], y[:2])))
    data = load_dataset(name)
    assert data.input_shape == (*shape[:2], shape[2] if len(shape) == 3 else 1)
    assert data.train[0].max() == 1.0
    assert data.train[1].tolist() == [0, 1, 0, 1]
