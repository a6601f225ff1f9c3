"""The same way under every dtype policy, from every kind of file, in place, and on two devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.model_kinds import KINDS, NUM_SAMPLES, add_every_kind
from tests.fresh_python import run_script
from tests.small_models import conv_net, fingerprint, images, tiny_net
from tf_metacompress import callbacks, compress, export_litert, finalize
from tf_metacompress.anatomy import describe, untouched
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.sparsity import measure_sparsity

add_every_kind()
layers = keras.layers
POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8)])


def fitted(student, x, y):
    student.compile("sgd", loss="sparse_categorical_crossentropy")
    history = student.fit(x, y, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    return student


def under(policy, make):
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_float16",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("mixed_bfloat16", "float16", "bfloat16", "float64")
        ),
    ],
)
def test_every_dtype_policy_goes_the_whole_way(dtype, tmp_path):
    model = under(dtype, tiny_net)
    before = fingerprint(model)
    x, y = images()
    student = fitted(compress(model, POLICY), x, y)
    assert fingerprint(model) == before
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(again(x), student(x))
    assert str(again(x).dtype) == f"<dtype: '{dtype.removeprefix('mixed_')}'>"
    final = finalize(again)
    assert measure_sparsity(final).total == pytest.approx(0.5, abs=0.02)
    assert {v.dtype for v in final.weights} == {v.dtype for v in model.weights}
    report = export_litert(final, tmp_path / "m.tflite", mode="int8", representative_dataset=x)
    assert report.parity.passed
    assert report.stored_types == {"conv": "int8", "head": "int8"}
    assert max(entry.nonzero_share for entry in report.layers) <= 0.5 + 1e-6


def from_keras_file(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def from_weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    fresh = type(model).from_config(model.get_config())
    fresh.load_weights(folder / "model.weights.h5")
    return fresh


def from_saved_model(model, folder):
    """The variables of a SavedModel, in their order, in the same architecture."""
    model.export(folder / "saved", verbose=False)
    stored = tf.saved_model.load(folder / "saved").variables
    fresh = type(model).from_config(model.get_config())
    for variable, value in zip(fresh.variables, stored, strict=True):
        assert value.name.endswith(f"{variable.path}:0")
        variable.assign(value)
    return fresh


@pytest.mark.slow
@pytest.mark.parametrize("load", [from_keras_file, from_weights, from_saved_model])
def test_a_loaded_model_compresses_as_the_one_it_was(load, tmp_path):
    model = tiny_net()
    loaded = load(model, tmp_path)
    x, _ = images()
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    for one, other in zip(
        finalize(compress(loaded, POLICY)).weights,
        finalize(compress(model, POLICY)).weights,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_an_imported_saved_model_inside_stays_float_and_is_reported(tmp_path):
    tiny_net().export(tmp_path / "saved", verbose=False)
    imported = layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve", name="imported")
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="head")(imported(inputs)))
    assert {info.name: info.compressible for info in describe(model)} == {
        "imported": False, "head": True,
    }  # fmt: skip
    assert "imported" in {entry.layer for entry in untouched(model)}
    x, y = images()
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    callback = callbacks.MetaCompress(policy=POLICY)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    assert measure_sparsity(model).layers["head"] == pytest.approx(0.5, abs=0.06)


IN_PLACE = ["plain_ops", "custom_block", "attention", "lstm", "dict_of_outputs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*IN_PLACE[:1], *(pytest.param(n, marks=pytest.mark.slow) for n in IN_PLACE[1:])]
)
def test_in_place(name, tmp_path):
    kind = KINDS[name]
    model = kind.make()
    model.compile(keras.optimizers.Adam(1e-3), kind.loss())
    x, y = kind.inputs(NUM_SAMPLES), kind.targets(NUM_SAMPLES)
    callback = callbacks.MetaCompress(policy=POLICY)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    assert fingerprint(model)[1] == []
    sparsity = measure_sparsity(model).layers
    assert min(sparsity[layer] for layer in kind.compressed) >= 0.49
    report = export_litert(model, tmp_path / "m.tflite", mode="int8", representative_dataset=x)
    assert report.parity.passed


TWO_DEVICES = """
import sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)

import contextlib
import keras
import numpy as np
import tf_metacompress as tmc
from tests.small_models import conv_net, dense_net, fingerprint, images, randomize
from tf_metacompress.sparsity import measure_sparsity

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = images(32)
LOSS = "sparse_categorical_crossentropy"

# Pruning alone gives the weights that one device gives.
weights = []
for scope in (contextlib.nullcontext(), strategy.scope()):
    with scope:
        model = randomize(dense_net(features=64))
        student = tmc.compress(model, tmc.Policy([tmc.Rule("*", sparsity=0.5)]))
        student.compile(keras.optimizers.SGD(0.1), LOSS)
    student.fit(x.reshape(32, 64), y, batch_size=8, shuffle=False, verbose=0)
    weights.append([np.asarray(weight) for weight in tmc.finalize(student).weights])
for one, other in zip(*weights, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)

policy = tmc.Policy([tmc.Rule("*", sparsity=0.5, weight_bits=8)])
with strategy.scope():
    model = conv_net()
    before = fingerprint(model)
    student = tmc.compress(model, policy)
    student.compile("adam", LOSS)
student.fit(x, y, batch_size=8, verbose=0, callbacks=[tmc.callbacks.PruningSchedule(end_step=3)])
assert fingerprint(model) == before
for compressor in student.compressors:
    for variable in compressor.variables:
        first, second = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
student.save(sys.argv[1] + "/student.keras")
again = keras.models.load_model(sys.argv[1] + "/student.keras")
np.testing.assert_allclose(again(x), student(x), atol=1e-5)

with strategy.scope():
    inside = conv_net()
    inside.compile("adam", LOSS)
inside.fit(x, y, batch_size=8, verbose=0, callbacks=[tmc.callbacks.MetaCompress(policy=policy)])
for final in (tmc.finalize(student), inside):
    assert abs(measure_sparsity(final).total - 0.5) < 0.02
    path = sys.argv[1] + "/model.tflite"
    report = tmc.export_litert(final, path, mode="int8", representative_dataset=x)
    assert report.parity.passed
"""


@pytest.mark.slow
def test_on_two_devices(tmp_path):
    run_script("-c", TWO_DEVICES, str(tmp_path))


def test_a_norm_read_by_an_operator_too_does_not_fold():
    model = conv_net()
    assert "folded into 'conv'" in str(untouched(model))
    plain = KINDS["plain_ops"].make()
    assert "folded into 'conv1'" not in str(untouched(plain))
