"""What every public class can do, checked class by class from the descriptors."""

import copy
import dataclasses
import inspect
import json
import operator
import pickle
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_metacompress as tmc
from tests.conformance import descriptors
from tests.conformance.descriptors import DESCRIPTORS
from tests.fresh_python import run_script

PUBLIC_MODULES = (
    "callbacks",
    "meta.explanation",
    "meta.learners",
    "policy",
    "tasks",
    "schedules",
    "wrappers",
)


def public_names(module):
    return getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])


def public_classes(modules):
    """The concrete public classes of modules; a protocol cannot be instantiated."""
    values = (getattr(module, name) for module in modules for name in public_names(module))
    return {
        value
        for value in values
        if inspect.isclass(value)
        and value.__module__.startswith(tmc.__name__)
        and not inspect.isabstract(value)
        and not getattr(value, "_is_protocol", False)
    }


def select(*methods, base=object, other_than=()):
    return [
        cls
        for cls in DESCRIPTORS
        if issubclass(cls, base)
        and not issubclass(cls, other_than)
        and all(hasattr(cls, method) for method in methods)
    ]


def walk(classes):
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.__name__)


LAYER = keras.layers.Layer
DATACLASSES = [cls for cls in DESCRIPTORS if dataclasses.is_dataclass(cls)]
DATA = [cls for cls in DATACLASSES if cls.__dataclass_params__.eq]
KERAS = select(base=LAYER)
CALLABLE_KERAS = [cls for cls in KERAS if DESCRIPTORS[cls].input_shape]
MODELS = select(base=keras.Model)
JSON = select("to_json", "from_json", other_than=LAYER)
CONFIG = select("get_config", "from_config", other_than=LAYER)
DICT = select("to_dict", "from_dict", other_than=LAYER)
FILES = select("save", "load", other_than=LAYER)


def make(cls):
    return DESCRIPTORS[cls].make()


def inputs(cls):
    shape = DESCRIPTORS[cls].input_shape
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def without_descriptor(classes):
    return {cls.__name__ for cls in classes - set(DESCRIPTORS)}


def test_every_public_class_has_a_descriptor():
    modules = [operator.attrgetter(name)(tmc) for name in PUBLIC_MODULES]
    classes = public_classes([tmc, *modules])
    assert len(classes) > 10
    assert not without_descriptor(classes), "add them to tests/conformance/descriptors.py"
    assert not set(DESCRIPTORS) - classes, "descriptors of classes that are not public"


def test_a_class_without_a_descriptor_is_found():
    class Stranger:
        __module__ = "tf_metacompress.policy.stranger"

    module = type(tmc)("strange")
    module.Stranger, module.np, module._Hidden = Stranger, np, type("_Hidden", (), {})
    assert without_descriptor(public_classes([module])) == {"Stranger"}


@walk(DESCRIPTORS)
def test_the_descriptor_makes_its_class(cls):
    assert type(make(cls)) is cls


@walk(DESCRIPTORS)
def test_repr_rebuilds_or_informs(cls):
    value = make(cls)
    if isinstance(value, keras.callbacks.Callback):
        return
    shown = repr(value)
    assert cls.__name__ in shown
    assert not re.search(r"0x[0-9a-f]{6}", shown)
    if cls in DATA and "FrozenMapping" not in shown:
        namespace = {**vars(descriptors), **{known.__name__: known for known in DESCRIPTORS}}
        assert eval(shown, namespace) == value  # noqa: S307


@walk(DATACLASSES)
def test_a_dataclass_is_frozen(cls):
    value = make(cls)
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    for field in dataclasses.fields(value):
        assert not isinstance(getattr(value, field.name), list | dict | set), field.name


@walk(DATA)
def test_equal_data_are_equal_and_hash_alike(cls):
    value = make(cls)
    assert value == make(cls)
    assert hash(value) == hash(make(cls))
    assert value != object()


@walk(DATA)
def test_data_survive_copy_and_pickle(cls):
    value = make(cls)
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


@walk(CONFIG)
def test_config_round_trip(cls):
    value = make(cls)
    config = json.loads(json.dumps(value.get_config()))
    assert cls.from_config(config) == value


@walk(DICT)
def test_dict_round_trip(cls):
    value = make(cls)
    assert cls.from_dict(json.loads(json.dumps(value.to_dict()))) == value
    with pytest.raises(tmc.errors.CorruptFileError, match="surprise"):
        cls.from_dict({**value.to_dict(), "surprise": 1})


@walk(JSON)
def test_json_round_trip(cls):
    value = make(cls)
    assert cls.from_json(value.to_json()) == value
    assert json.loads(value.to_json())["schema_version"] == 1


BROKEN_JSON = {
    "no json": lambda text: text[:-2],
    "not an object": lambda text: f"[{text}]",
    "unknown key": lambda text: json.dumps({**json.loads(text), "surprise": 1}),
    "no version": lambda text: text.replace("schema_version", "version"),
    "newer version": lambda text: json.dumps({**json.loads(text), "schema_version": 2}),
    "NaN": lambda text: json.dumps({**json.loads(text), "schema_version": float("nan")}),
    "repeated key": lambda text: text.replace("{", '{"schema_version": 1, ', 1),
    "all null": lambda text: json.dumps(
        {key: key == "schema_version" or None for key in json.loads(text)}
    ),
}


@pytest.mark.parametrize("how", BROKEN_JSON)
@walk(JSON)
def test_broken_json_is_a_clear_error(cls, how):
    value = make(cls)
    with pytest.raises(tmc.errors.CorruptFileError) as raised:
        cls.from_json(BROKEN_JSON[how](value.to_json()))
    assert "\n" not in str(raised.value)


@walk(FILES)
def test_file_round_trip(cls, tmp_path):
    value, path, state = make(cls), tmp_path / "file", DESCRIPTORS[cls].state
    value.save(path)
    assert state(cls.load(path)) == state(value)
    with pytest.raises(tmc.errors.CorruptFileError, match="missing"):
        cls.load(tmp_path / "missing")


@walk(KERAS)
def test_keras_config_round_trip(cls):
    value = make(cls)
    serialized = json.dumps(keras.saving.serialize_keras_object(value))
    again = keras.saving.deserialize_keras_object(json.loads(serialized))
    assert type(again) is cls
    assert json.dumps(again.get_config()) == json.dumps(value.get_config())


@pytest.mark.parametrize("training", [False, True])
@walk(CALLABLE_KERAS)
def test_eager_equals_function(cls, training):
    x = inputs(cls)
    eager, traced = make(cls), make(cls)
    function = tf.function(traced)
    for _ in range(2):
        expected, got = eager(x, training=training), function(x, training=training)
        np.testing.assert_allclose(got, expected, atol=1e-6)
    for one, other in zip(eager.variables, traced.variables, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def as_model(cls):
    value = make(cls)
    if isinstance(value, keras.Model):
        return value
    return keras.Sequential([keras.Input(DESCRIPTORS[cls].input_shape[1:]), value])


@walk(CALLABLE_KERAS)
def test_save_and_load(cls, tmp_path):
    model, x = as_model(cls), inputs(cls)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    assert [v.name for v in again.variables] == [v.name for v in model.variables]


LOAD = """
import sys
import numpy as np
{first}
import keras
model = keras.models.load_model(sys.argv[1])
np.testing.assert_allclose(model(np.load(sys.argv[2])), np.load(sys.argv[3]), atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import tf_metacompress",
        pytest.param("import tf_metacompress, tensorflow", marks=pytest.mark.slow),
    ],
)
@walk(MODELS)
def test_a_saved_model_loads_in_a_fresh_process(cls, first, tmp_path):
    model, x = make(cls), inputs(cls)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", model(x))
    files = (str(tmp_path / file) for file in ("model.keras", "x.npy", "y.npy"))
    run_script("-c", LOAD.format(first=first), *files)


ERRORS = [
    value
    for value in vars(tmc.errors).values()
    if inspect.isclass(value) and issubclass(value, tmc.errors.MetacompressError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_survives_pickling(error):
    value = error("The rule.")
    for attribute in vars(value):
        setattr(value, attribute, {"size_bytes": 1.0})
    again = pickle.loads(pickle.dumps(value))
    assert (type(again), str(again), vars(again)) == (error, "The rule.", vars(value))
