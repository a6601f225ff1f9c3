"""A Keras 2 model through tfmot by policy; run in a process of its own by `test_legacy.py`."""

import os
import sys

import keras
import numpy as np
import tensorflow as tf
import tf_keras

import tf_metacompress as tmc
from tf_metacompress import legacy
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError, UnsupportedModelError


def network():
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Conv2D(8, 3, input_shape=(8, 8, 4), name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(3, name="head"),
        ],
        name="legacy_net",
    )


def zeros(layer):
    return float(np.mean(layer.kernel.numpy() == 0))


def raises(error, text, call):
    try:
        call()
    except error as caught:
        assert text in str(caught), caught
    else:
        raise AssertionError(f"nothing raised for {text!r}")


def fit(model, callbacks=()):
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=3, batch_size=16, verbose=0, callbacks=list(callbacks))


generator = np.random.default_rng(0)
X = generator.normal(size=(64, 8, 8, 4)).astype("float32")
Y = generator.integers(0, 3, 64)
POLICY = tmc.Policy(
    [
        tmc.Rule("conv", sparsity=0.75, weight_bits=8),
        tmc.Rule("hidden", pattern="2:4", weight_bits=4),
        tmc.Rule("head", pattern="block:4x1", sparsity=0.5),
    ]
)

assert "tensorflow_model_optimization" not in sys.modules
environment = dict(os.environ)
model = network()
weights = [weight.copy() for weight in model.get_weights()]
pruned = legacy.prune(model, POLICY, begin_step=0, end_step=8, frequency=2)
assert dict(os.environ) == environment and tf.keras.__version__.startswith("3.")
assert keras.layers.Dense is tf.keras.layers.Dense
assert [type(layer).__name__ for layer in pruned.layers if hasattr(layer, "layer")] == [
    "PruneLowMagnitude"
] * 3
fit(pruned, [legacy.pruning_callback()])
plain = legacy.strip(pruned)
found = {name: zeros(plain.get_layer(name)) for name in ("conv", "hidden", "head")}
assert found == {"conv": 0.75, "hidden": 0.5, "head": 0.5}, found
groups = plain.get_layer("hidden").kernel.numpy().T.reshape(-1, 4)
assert ((groups != 0).sum(1) <= 2).all()
for before, after in zip(weights, model.get_weights(), strict=True):
    np.testing.assert_array_equal(before, after)

aware = legacy.quantize(plain, POLICY)
fit(aware)
state = {w.name.rpartition("/")[2]: w.numpy() for w in aware.get_layer("quant_conv").weights}
assert np.mean(state["kernel:0"] == 0) >= 0.75, np.mean(state["kernel:0"] == 0)
hidden = aware.get_layer("quant_hidden")
assert hidden.quantize_config.weight_quantizer.num_bits == 4
assert not hasattr(aware.get_layer("head"), "quantize_config")
file = tf.lite.TFLiteConverter.from_keras_model(aware)
assert file is not None

raises(ArgumentTypeError, "Use `compress`", lambda: legacy.prune(keras.Sequential(), POLICY))
nested = tf_keras.Sequential([network(), tf_keras.layers.Softmax()])
raises(UnsupportedModelError, "flat", lambda: legacy.prune(nested, POLICY))
raises(
    InvalidArgumentError, "fits no layer", lambda: legacy.prune(model, tmc.Policy([tmc.Rule("x")]))
)
channel = tmc.Policy([tmc.Rule("conv", pattern="channel", sparsity=0.5)])
raises(InvalidArgumentError, "no channel pruning", lambda: legacy.prune(model, channel))
half = tmc.Policy([tmc.Rule("conv", weight_bits=16)])
raises(InvalidArgumentError, "2 to 8 bits", lambda: legacy.quantize(model, half))
print("done")
