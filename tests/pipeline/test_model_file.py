"""Models from files, and data that fit them or do not."""

import json
import zipfile

import keras
import numpy as np
import pytest

from tests.small_models import SubclassedNet, randomize, shared_net, subclassed_net, tiny_net
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.pipeline import Dataset, load_model
from tf_metacompress.pipeline.model_file import check_fits

layers = keras.layers


def dataset(shape=(8, 8, 1), largest_label=2):
    x, y = np.zeros((4, *shape), "float32"), np.array([0, 1, 0, largest_label])
    return Dataset("tiny", (x, y), (x, y))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model = tiny_net()
    model.compile("adam", "mse")
    model.save(path)
    return path


def test_a_model_comes_back_without_its_optimizer(saved):
    model = load_model(saved)
    assert not model.compiled
    x = np.ones((2, 8, 8, 1), "float32")
    np.testing.assert_allclose(model(x), load_model(str(saved))(x))


def test_what_is_not_a_model_file_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="no such model file.*none.keras"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(InvalidArgumentError, match="not a folder"):
        load_model(tmp_path)
    for content in (b"", b"PK\x03\x04 something", b"text", b"\x89HDF\r\n\x1a\n"):
        for name in ("model.keras", "model.h5", "model"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CorruptFileError, match="Keras cannot read this model.*Received"):
                load_model(tmp_path / name)


def test_a_damaged_model_never_gives_another_kind_of_error(saved, tmp_path):
    whole, path = saved.read_bytes(), tmp_path / "model.keras"
    generator = np.random.default_rng(0)
    for _ in range(12):
        damaged = bytearray(whole)
        for position in generator.integers(len(whole), size=20):
            damaged[position] = generator.integers(256)
        path.write_bytes(bytes(damaged[: generator.integers(len(whole) // 2, len(whole))]))
        with pytest.raises((CorruptFileError, UnsupportedModelError)):
            load_model(path)


def rewritten(source, target, name, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            new.writestr(entry, change(data) if entry == name else data)
    return target


def test_a_model_of_keras_2_is_named_as_such(saved, tmp_path):
    def older(data):
        return json.dumps({**json.loads(data), "keras_version": "2.15.0"}).encode()

    path = rewritten(saved, tmp_path / "old.keras", "metadata.json", older)
    with pytest.raises(UnsupportedModelError, match="This is a Keras 2 model.*'2.15.0'"):
        load_model(path)


def test_a_layer_of_an_unknown_class_is_named(saved, tmp_path):
    def renamed(data):
        config = json.loads(data)
        config["config"]["layers"][2]["class_name"] = "MyOwnNorm"
        config["config"]["layers"][2]["module"] = "mine"
        return json.dumps(config).encode()

    path = rewritten(saved, tmp_path / "own.keras", "config.json", renamed)
    with pytest.raises(UnsupportedModelError, match="not known here.*MyOwnNorm.*in Python"):
        load_model(path)


@pytest.mark.parametrize(
    "model",
    [
        tiny_net(),
        subclassed_net(),
        keras.Sequential(
            [keras.Input((None, None, 1)), layers.GlobalAveragePooling2D(), layers.Dense(3)]
        ),
    ],
    ids=["sequential", "subclassed", "free"],
)
def test_data_that_fit_pass(model):
    check_fits(model, dataset())


@pytest.mark.parametrize(
    ("make", "data", "error", "message"),
    [
        (tiny_net, dataset((8, 8)), InvalidArgumentError, "that the model takes.*last axis"),
        (tiny_net, dataset((9, 8, 1)), InvalidArgumentError, r"data_input=\(None, 9, 8, 1\)"),
        (tiny_net, dataset(largest_label=3), InvalidArgumentError, "largest_label=3, outputs=3"),
        (shared_net, dataset((5,)), UnsupportedModelError, "one input.*MetaCompress callback"),
        (subclassed_net, dataset((8,)), InvalidArgumentError, "must run on the inputs"),
    ],
)
def test_data_that_do_not_fit_are_refused(make, data, error, message):
    with pytest.raises(error, match=message):
        check_fits(make(), data)


def test_outputs_other_than_one_number_a_class_are_refused():
    inputs = keras.Input((8, 8, 1))
    two = keras.Model(inputs, [layers.Flatten()(inputs), layers.Flatten()(inputs)])
    maps = keras.Model(inputs, layers.Conv2D(3, 3)(inputs))
    for model in (two, maps):
        with pytest.raises(UnsupportedModelError, match=r"\(batch, classes\)"):
            check_fits(model, dataset())


def test_a_single_sigmoid_gets_a_hint():
    parts = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1, "sigmoid")]
    with pytest.raises(InvalidArgumentError, match="softmax over two classes"):
        check_fits(randomize(keras.Sequential(parts)), dataset(largest_label=1))


def test_other_objects_are_refused():
    with pytest.raises(ArgumentTypeError, match="Keras 3 model"):
        check_fits("model", dataset())
    with pytest.raises(InvalidArgumentError, match="must be built"):
        check_fits(SubclassedNet(), dataset())
