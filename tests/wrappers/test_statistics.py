"""What training tells about weights: gathered in eager code, in `fit`, and on two devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.fresh_python import run_script
from tf_metacompress import compress
from tf_metacompress.callbacks import PruningSchedule
from tf_metacompress.controller import PruningController
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy import LayerPlan, Policy, Rule
from tf_metacompress.schedules import ConstantSparsity
from tf_metacompress.sparsity import measure_sparsity
from tf_metacompress.wrappers import LayerCompressor, ZeroShare, compressor_of
from tf_metacompress.wrappers.statistics import observe_gradient

layers = keras.layers
X = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 32)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(6, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


def student_of(score, bits=32, **fields):
    rules = [Rule("conv", score=score, sparsity=0.5, weight_bits=bits, **fields)]
    rules.append(Rule("hidden", score=score, sparsity=0.75, weight_bits=bits))
    return compress(network(), Policy(rules))


def state_of(student, path, name="kernel"):
    return next(c for c in student.compressors if c.plan.layer == path).states[name]


def test_an_observed_gradient_is_exact_to_second_order():
    seen = []
    x = tf.constant([0.3, -1.2], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(tf.sin(observe_gradient(x, seen.append)))
        first = inner.gradient(y, x)
    np.testing.assert_allclose(first, np.cos(x))
    np.testing.assert_allclose(outer.gradient(first, x), -np.sin(x))
    assert any(np.allclose(gradient, np.cos(x)) for gradient in seen)


def test_saliency_is_the_moving_average_of_weight_times_gradient():
    layer = layers.Dense(3, use_bias=False, name="it")
    layer.build((None, 4))
    kernel = layer.kernel.numpy()
    compressor = LayerCompressor(
        LayerPlan("it", sparsity=0.5, score="taylor", weight_bits=4), {"kernel": (1,)}
    )
    compressor.attach({"it": layer})
    compressor.update_masks()
    state, expected = compressor.states["kernel"], np.zeros((4, 3))
    for seed in range(3):
        x = tf.random.stateless_normal((5, 4), (seed, 0))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x))
        tape.gradient(loss, layer.kernel.value)
        gradient = np.tile(x.numpy().sum(axis=0)[:, None], (1, 3))
        expected += 0.05 * (np.abs(kernel * gradient) - expected)
        np.testing.assert_allclose(state.saliency, expected, rtol=1e-4)
    layer(tf.ones((1, 4)))
    np.testing.assert_allclose(state.saliency, expected, rtol=1e-4)
    compressor.update_masks()
    kept = np.sort(np.argsort(-expected.ravel())[:6])
    np.testing.assert_array_equal(np.flatnonzero(compressor.masks["kernel"]), kept)


def test_an_overflow_leaves_the_saliency_as_it_is():
    layer = layers.Dense(2, use_bias=False, name="it")
    layer.build((None, 2))
    compressor = LayerCompressor(LayerPlan("it", sparsity=0.5, score="taylor"), {"kernel": (1,)})
    compressor.attach({"it": layer})
    for scale in (1.0, np.inf):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.ones((1, 2)))) * scale
        tape.gradient(loss, layer.kernel.value)
    saliency = np.asarray(compressor.states["kernel"].saliency)
    np.testing.assert_allclose(saliency, 0.05 * np.abs(layer.kernel), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_fit_gathers_saliency_and_masks_follow_it(bits, run_eagerly):
    student = student_of("taylor", bits)
    before = {c.plan.layer: c.masks["kernel"].numpy() for c in student.compressors if c.masks}
    student.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    student.run_eagerly = run_eagerly
    schedule = PruningSchedule(ConstantSparsity(frequency=2))
    student.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[schedule])
    for path, sparsity in (("conv", 0.5), ("hidden", 0.75)):
        state = state_of(student, path)
        assert np.count_nonzero(state.saliency) > 0.9 * state.saliency.numpy().size
        mask = state.mask.numpy()
        assert mask.mean() == pytest.approx(1 - sparsity)
        assert np.any(mask != before[path])


@pytest.mark.parametrize("score", ["taylor", "activation"])
def test_under_a_schedule_layers_stay_dense_until_there_are_statistics(score):
    student = student_of(score)
    controller = PruningController(student.compressors, ConstantSparsity(frequency=100))
    controller.on_train_begin()
    shares = [measure_sparsity(student).layers["hidden"]]
    for _ in range(3):
        controller.on_step()
        shares.append(measure_sparsity(student).layers["hidden"])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(student(X, training=True) ** 2)
        tape.gradient(loss, [v.value for v in student.trainable_variables])
    assert shares == [0.0, 0.0, 0.75, 0.75]


def test_before_any_statistic_scores_are_magnitudes():
    magnitude, taylor, activation = (
        state_of(student_of(score), "hidden").mask.numpy()
        for score in ("magnitude", "taylor", "activation")
    )
    np.testing.assert_array_equal(taylor, magnitude)
    np.testing.assert_array_equal(activation, magnitude)


@pytest.mark.parametrize("bits", [32, 8])
def test_zeros_are_counted_behind_the_activation(bits):
    student = student_of("activation", bits)
    conv = next(c for c in student.compressors if c.plan.layer == "conv")
    hidden = next(c for c in student.compressors if c.plan.layer == "hidden")
    assert (conv.activation, hidden.activation) == ("relu", "hidden")
    network = student.network
    network.get_layer("norm").beta.assign([-9.0, 0.0, 0.0, 0.0, 9.0, 9.0])
    student(X, training=False)
    assert not conv.zero_share.is_known
    student(X, training=True)
    share = conv.zero_share.share.numpy()
    assert conv.zero_share.is_known and share[0] == 1.0 and share[5] == 0.0
    result = X
    for name in ("conv", "norm", "relu"):
        result = network.get_layer(name)(result, training=True)
    result = result.numpy()
    np.testing.assert_allclose(share, (result == 0).mean(axis=(0, 1, 2)), atol=0.02)
    conv.update_masks()
    kept = conv.masks["kernel"].numpy().mean(axis=(0, 1, 2))
    np.testing.assert_array_equal(kept, share <= np.sort(share)[2])


def test_the_counter_comes_off_with_the_compressor():
    student = student_of("activation", 8)
    leaves = leaf_layers(student.network)
    assert compressor_of(leaves["relu"]).plan.layer == "relu"
    for compressor in student.compressors:
        compressor.detach()
    assert all(compressor_of(layer) is None for layer in leaves.values())


def test_no_activation_is_found_behind_an_addition():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    outputs = layers.ReLU()(layers.Add()([x, inputs]))
    student = compress(
        keras.Model(inputs, outputs), Policy([Rule("a", sparsity=0.5, score="activation")])
    )
    assert student.compressors[0].zero_share is None
    student.compressors[0].update_masks()
    assert np.count_nonzero(student.compressors[0].masks["kernel"]) == 8


@pytest.mark.parametrize("score", ["taylor", pytest.param("activation", marks=pytest.mark.slow)])
def test_statistics_survive_the_file(score, tmp_path):
    student = student_of(score, 8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile("sgd", loss, run_eagerly=True)
    student.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    names = [variable.name for variable in student.variables]
    assert names == [variable.name for variable in again.variables]
    for one, other in zip(student.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(student.compressors, again.compressors, strict=True):
        one.update_masks()
        other.update_masks()
        for name, mask in one.masks.items():
            np.testing.assert_array_equal(mask, other.masks[name])


def test_a_frozen_share_needs_training():
    count = ZeroShare(2, momentum=0.5)
    zeros = tf.constant([[0.0, 1.0]])
    count(zeros)
    assert not count.is_known
    count(zeros, training=True)
    count(1.0 - zeros, training=True)
    assert count.share.numpy().tolist() == [0.5, 0.5]


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_metacompress as tmc
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
y = np.random.default_rng(1).integers(0, 3, 32)
with strategy.scope():
    model = keras.Sequential([
        keras.Input((8,)), keras.layers.Dense(16, name="a"), keras.layers.ReLU(name="relu"),
        keras.layers.Dense(16, activation="relu", name="b"), keras.layers.Dense(3, name="c"),
    ])
    rules = [tmc.Rule("a", sparsity=0.5, score="activation", weight_bits=8),
             tmc.Rule("b", sparsity=0.5, score="taylor", weight_bits=8),
             tmc.Rule("c", weight_bits=3, quantizer="codebook", granularity="per_tensor")]
    student = tmc.compress(model, tmc.Policy(rules))
    student.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
schedule = tmc.callbacks.PruningSchedule(begin_step=0, end_step=4, frequency=1)
student.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[schedule])
by_path = {c.plan.layer: c for c in student.compressors}
assert np.count_nonzero(by_path["b"].states["kernel"].saliency) > 200
assert by_path["a"].zero_share.is_known
for path in "ab":
    assert np.asarray(by_path[path].masks["kernel"]).mean() == 0.5, path
final = tmc.finalize(student)
print("zeros", [int(np.sum(np.asarray(layer.kernel) == 0)) for layer in final.layers[:3:2]])
print("values", len(np.unique(np.asarray(final.get_layer("c").kernel))))
"""


@pytest.mark.slow
def test_statistics_are_gathered_on_two_devices():
    shown = run_script("-c", MIRRORED)
    zeros = eval(shown.split("zeros")[1].splitlines()[0])  # noqa: S307
    assert zeros[0] >= 64 and zeros[1] >= 128
    assert int(shown.split("values")[1]) <= 8
