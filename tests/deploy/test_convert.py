"""Every kind of model becomes a float file that computes the same, and is not changed by it."""

import contextlib
import functools
import io
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tests import small_models
from tf_metacompress.anatomy.signature import model_signature, unique_names
from tf_metacompress.deploy import export_litert
from tf_metacompress.deploy.convert import convert_float
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    UnsupportedModelError,
)

layers = keras.layers


def run_raw(data, inputs):
    """Runs a batch of one through the signature, with nothing of ours."""
    return Interpreter(model_content=data).get_signature_runner()(**inputs)


def sample(spec, seed=0):
    generator = np.random.default_rng(seed)
    if spec.dtype.startswith("int"):
        return generator.integers(0, 5, (1, *spec.shape)).astype(spec.dtype)
    return generator.normal(size=(1, *spec.shape)).astype(spec.dtype)


def two_outputs_net():
    first, second = keras.Input((4,), name="first in"), keras.Input((3,), name="second")
    joined = layers.Concatenate()([first, second])
    outputs = [layers.Dense(2, name="left")(joined), layers.Dense(3, name="right")(second)]
    return small_models.randomize(keras.Model([first, [second]], outputs))


def dictionary_net():
    first, second = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model({"a": first, "b": second}, {"sum": first + second, "gap": first - second})


def embedding_net():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(10, 4)(tokens))
    return small_models.randomize(keras.Model(tokens, layers.Dense(2)(x)))


def one_dimensional_net():
    stack = [layers.Conv1D(4, 3), layers.SeparableConv1D(5, 3), layers.GlobalMaxPooling1D()]
    return small_models.randomize(keras.Sequential([keras.Input((10, 3)), *stack]))


class TwoNamedInputs(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return {"u": self.dense(inputs["x"]), "v": self.dense(inputs["y"])}


def subclassed_two_inputs():
    model = TwoNamedInputs()
    model({"x": np.zeros((3, 4), "float32"), "y": np.zeros((3, 4), "float32")})
    return model


def reduced_net(policy):
    """Convolution, normalisation, a loop with a cell, and a head in one dtype policy."""
    sequence = [
        layers.Reshape((9, 3), dtype=policy),
        layers.GRU(4, dtype=policy, recurrent_initializer="zeros"),
    ]
    stack = [layers.Conv2D(3, 3, dtype=policy), layers.BatchNormalization(dtype=policy)]
    head = layers.Dense(2, dtype=policy)
    model = keras.Sequential([keras.Input((5, 5, 1)), *stack, *sequence, head])
    return small_models.randomize(model)


REDUCED = {
    "mixed_float16": 5e-3,
    "float16": 2e-2,
    "mixed_bfloat16": 5e-2,
    "bfloat16": 1e-1,
    "float64": 1e-5,
}
"""Dtype policies other than float32, and how far off float32 their own arithmetic may be."""


MODELS = {
    "functional": (small_models.conv_net, ("input",), ("output_0",)),
    "residual": (small_models.residual_net, ("input",), ("output_0",)),
    "sequential": (small_models.dense_net, ("input",), ("output_0",)),
    "nested": (small_models.nested_net, ("input",), ("output_0",)),
    "shared": (small_models.shared_net, ("left", "right"), ("output_0",)),
    "subclassed": (small_models.subclassed_net, ("input",), ("output_0",)),
    "two_outputs": (two_outputs_net, ("first_in", "second"), ("left", "right")),
    "dictionary": (dictionary_net, ("a", "b"), ("gap", "sum")),
    "integers": (embedding_net, ("input",), ("output_0",)),
    "one_dimensional": (one_dimensional_net, ("input",), ("output_0",)),
    "subclassed_two": (subclassed_two_inputs, ("x", "y"), ("u", "v")),
    **{
        policy: (functools.partial(reduced_net, policy), ("input",), ("output_0",))
        for policy in REDUCED
    },
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_file_computes_what_keras_computes(kind):
    make, inputs, outputs = MODELS[kind]
    model = make()
    before = small_models.fingerprint(model) if "subclassed" not in kind else None
    conversion = convert_float(model)
    assert conversion.signature.names == inputs
    assert conversion.output_names == outputs
    feed = {spec.name: sample(spec) for spec in conversion.signature.inputs}
    actual = run_raw(conversion.data, feed)
    assert sorted(actual) == sorted(outputs)
    expected = keras.tree.flatten(model(conversion.signature.pack(feed), training=False))
    tolerance = REDUCED.get(kind, 1e-5)
    for name, value in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(actual[name], np.asarray(value), rtol=tolerance, atol=tolerance)
    if before is not None:
        assert small_models.fingerprint(model) == before


@pytest.mark.slow
@pytest.mark.parametrize("policy", REDUCED)
def test_a_model_in_another_precision_is_exported_with_its_weights_in_float32(policy):
    model, widened = reduced_net(policy), reduced_net("float32")
    for source, target in zip(model.variables, widened.variables, strict=True):
        target.assign(np.asarray(source.value).astype("float32"))
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 1)).astype("float32")
    actual = run_raw(convert_float(model).data, {"input": x})["output_0"]
    np.testing.assert_allclose(actual, widened(x), rtol=1e-5, atol=1e-6)
    assert {layer.dtype_policy.name for layer in model.layers} == {policy}


def test_the_signature_has_batch_size_one_and_the_file_is_reproducible(cnn):
    first, second = convert_float(cnn), convert_float(cnn)
    assert first.data == second.data
    interpreter = Interpreter(model_content=first.data)
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 12, 12, 1]


def test_policies_of_a_mixed_precision_model_are_put_back_even_after_a_failure():
    def fail(tensor, **kwargs):
        raise RuntimeError("this layer is broken")

    inputs = keras.Input((4,))
    x = layers.Dense(3, dtype="mixed_float16", name="half")(inputs)
    model = keras.Model(inputs, x)
    model.get_layer("half").call = fail
    with pytest.raises(UnsupportedModelError, match="this layer is broken"):
        convert_float(model)
    assert model.get_layer("half").dtype_policy.name == "mixed_float16"


def test_a_compiled_and_fitted_model_keeps_training_after_export(tmp_path):
    model = small_models.dense_net()
    x, y = small_models.images(8, shape=(12,))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    before = small_models.fingerprint(model)
    export_litert(model, tmp_path / "model.tflite", representative_dataset=x)
    assert small_models.fingerprint(model) == before
    model.fit(x, y, verbose=0)


def test_unknown_extents_are_named():
    inputs = keras.Input((None, None, 3), name="photo")
    model = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    with pytest.raises(UnsupportedModelError, match=r"'photo'.*keras\.Input\(\(\?, \?, 3,?\)"):
        convert_float(model)


def test_deeply_nested_inputs_are_refused():
    class Deep(keras.Model):
        def call(self, inputs):
            return inputs["a"]["b"]

        def get_build_config(self):
            return {"input_shape": {"a": {"b": (None, 3)}}}

    with pytest.raises(UnsupportedModelError, match="nested deeper"):
        model_signature(Deep())


def test_a_model_without_shapes_is_refused():
    with pytest.raises(InvalidArgumentError, match="Call it once"):
        model_signature(keras.Model())


@pytest.mark.parametrize("model", [None, "model", 3, lambda x: x])
def test_what_is_not_a_model_is_refused(model, tmp_path):
    with pytest.raises(ArgumentTypeError, match="Keras 3 model"):
        export_litert(model, tmp_path / "model.tflite")


def test_a_keras_2_model_is_refused(tmp_path):
    namespace = {"__module__": "tf_keras.src.engine.training"}
    legacy = types.new_class("Sequential", (), exec_body=lambda body: body.update(namespace))()
    with pytest.raises(UnsupportedModelError, match="Keras 2 model"):
        export_litert(legacy, tmp_path / "model.tflite")


def test_an_operator_that_litert_lacks_is_named(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Activation(keras.ops.erf)(inputs))
    with pytest.raises(UnsupportedModelError, match="no operator for Erf"):
        export_litert(model, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


def test_names_become_identifiers_once_each():
    assert unique_names(["a b", "a/b", "a.b", "", "ä"]) == (
        "a_b",
        "a_b_1",
        "a_b_2",
        "tensor",
        "tensor_1",
    )


def signature_of(data):
    """Names, shapes and types of what goes in and comes out, by the runtime's own account."""
    runner = Interpreter(model_content=data).get_signature_runner("serving_default")
    sides = (runner.get_input_details(), runner.get_output_details())
    return [
        {name: (tuple(item["shape"]), item["dtype"]) for name, item in side.items()}
        for side in sides
    ]


def two_heads_net():
    """With names that the converter of Keras models accepts: it fails on "first in"."""
    inputs = keras.Input((4,), name="first")
    outputs = [layers.Dense(2, name="left")(inputs), layers.Dense(3, name="right")(inputs)]
    return small_models.randomize(keras.Model(inputs, outputs))


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_models.conv_net, two_heads_net, one_dimensional_net])
def test_the_file_computes_what_the_converter_of_keras_models_makes(make):
    model = make()
    conversion = convert_float(model)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = converter.convert()
    (spec,) = conversion.signature.inputs
    feed = sample(spec)
    ours = run_raw(conversion.data, {spec.name: feed})
    expected = run_raw(theirs, {next(iter(signature_of(theirs)[0])): feed})
    by_shape = {value.shape: value for value in expected.values()}
    for value in ours.values():
        np.testing.assert_allclose(value, by_shape[value.shape], rtol=1e-5, atol=1e-6)
    inputs, outputs = signature_of(conversion.data)
    assert tuple(sorted(inputs)) == tuple(sorted(conversion.signature.names))
    assert sorted(outputs) == sorted(conversion.output_names)
    assert all(shape[0] == 1 for side in (inputs, outputs) for shape, _ in side.values())


@pytest.mark.slow
def test_converting_a_frozen_function_is_faster_than_converting_the_model():
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)
    begin = time.perf_counter()
    conversion = convert_float(model)
    between = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        other = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    ratio = (time.perf_counter() - between) / (between - begin)
    x = sample(conversion.signature.inputs[0])
    (value,) = run_raw(conversion.data, {"input": x}).values()
    (expected,) = run_raw(other, {next(iter(signature_of(other)[0])): x}).values()
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert ratio >= 1.5
