"""What cannot be worked on is refused in words before any work, and the model stays as it is."""

import keras
import numpy as np
import pytest

import tf_metacompress as tmc
from tests.fresh_python import run_script
from tests.small_models import SubclassedNet, fingerprint, images, nested_net, tiny_net
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError, UnsupportedModelError

layers = keras.layers
POLICY = tmc.Policy([tmc.Rule("*", sparsity=0.5, weight_bits=8)])


def in_place(model, policy):
    """Trains with the callback; the model is compiled beforehand, as in a training script."""
    x, y = images()
    model.fit(x, y, verbose=0, callbacks=[tmc.callbacks.MetaCompress(policy=policy)])


WAYS = {"copy": tmc.compress, "in place": in_place}
every_way = pytest.mark.parametrize("way", WAYS)


def compiled(model):
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model


def with_bad_weight(value):
    model = tiny_net()
    kernel = model.get_layer("head").kernel
    kernel.assign(np.where(np.arange(kernel.shape[1]) == 1, value, kernel))
    return model


POLICIES = {
    "of another model": (tmc.Policy([tmc.Rule("dense_7", sparsity=0.5)]), "fits no layer.*dense_7"),
    "near name": (tmc.Policy([tmc.Rule("heat", sparsity=0.5)]), "Did you mean 'head'"),
    "layer that stays float": (tmc.Policy([tmc.Rule("norm", sparsity=0.5)]), "cannot be compress"),
    "one of two fits": (
        tmc.Policy([tmc.Rule("head", weight_bits=8), tmc.Rule("backbone/*", weight_bits=8)]),
        "fits no layer.*backbone",
    ),
}


@every_way
@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_for_another_model(case, way):
    policy, message = POLICIES[case]
    model = compiled(tiny_net())
    before = fingerprint(model)
    with pytest.raises(InvalidArgumentError, match=message):
        WAYS[way](model, policy)
    assert fingerprint(model) == before


def test_what_is_no_policy():
    model = tiny_net()
    before = fingerprint(model)
    for policy in (None, {"head": 0.5}, [tmc.Rule("head")], tmc.Rule("head")):
        with pytest.raises(ArgumentTypeError, match="`policy` must be a Policy"):
            tmc.compress(model, policy)
    assert fingerprint(model) == before


@every_way
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value, way):
    model = compiled(with_bad_weight(value))
    before = fingerprint(model)
    with pytest.raises(InvalidArgumentError, match="NaN or infinite.*head/kernel.*checkpoint"):
        WAYS[way](model, POLICY)
    assert fingerprint(model) == before


@pytest.mark.parametrize(
    "make", [SubclassedNet, lambda: keras.Sequential([layers.Dense(2)])], ids=["class", "list"]
)
def test_a_model_without_weights_yet(make, tmp_path):
    model = make()
    for work in (
        tmc.describe,
        lambda model: tmc.compress(model, POLICY),
        lambda model: tmc.export_litert(model, tmp_path / "model.tflite"),
    ):
        with pytest.raises(InvalidArgumentError, match="must be built.*keras.Input"):
            work(model)
    assert not model.weights
    assert not model.built
    assert list(tmp_path.iterdir()) == []


def test_a_model_compressed_already():
    model = nested_net()
    student = tmc.compress(model, POLICY)
    weights = [np.asarray(v).copy() for v in student.variables]
    for value in (student, student.network):
        with pytest.raises(UnsupportedModelError, match="compressed already.*finalize"):
            tmc.compress(value, POLICY)
    for variable, value in zip(student.variables, weights, strict=True):
        np.testing.assert_array_equal(variable, value)
    again = tmc.compress(tmc.finalize(student), POLICY)
    np.testing.assert_allclose(again(np.ones((1, 8, 8, 1))), student(np.ones((1, 8, 8, 1))))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_being_compressed_in_place():
    model = compiled(tiny_net())

    class Inside(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            with pytest.raises(UnsupportedModelError, match="compressed already"):
                tmc.compress(self.model, POLICY)
            self.model.seen = True

    x, y = images()
    model.fit(x, y, verbose=0, callbacks=[tmc.callbacks.MetaCompress(policy=POLICY), Inside()])
    assert model.seen
    assert fingerprint(model)[1] == []


def test_layers_of_tfmot_are_recognised_by_their_module():
    base = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})
    wrapper = type("PruneLowMagnitude", (), {"__module__": "tensorflow_model_optimization.python"})
    model = type("Mine", (base,), {"layers": [wrapper()], "__module__": "__main__"})()
    with pytest.raises(UnsupportedModelError, match="tfmot has compressed.*PruneLowMagnitude"):
        tmc.compress(model, POLICY)


TFMOT = """
import tensorflow_model_optimization as tfmot
import tf_keras
import tf_metacompress as tmc

plain = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
models = [
    (tfmot.sparsity.keras.prune_low_magnitude(plain), "PruneLowMagnitude"),
    (tfmot.quantization.keras.quantize_model(plain), "QuantizeWrapper"),
]
for model, name in models:
    before = [weight.numpy().tolist() for weight in model.weights]
    for work in (tmc.describe, lambda model: tmc.compress(model, tmc.Policy())):
        try:
            work(model)
        except tmc.errors.UnsupportedModelError as error:
            assert "tfmot has compressed already" in str(error) and name in str(error), error
        else:
            raise SystemExit("no error")
    assert before == [weight.numpy().tolist() for weight in model.weights]
"""


@pytest.mark.slow
def test_a_real_model_of_tfmot():
    run_script("-c", TFMOT)
