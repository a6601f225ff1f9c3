"""`compress` and `finalize` on every kind of model, against NumPy."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.fresh_python import run_script
from tests.small_models import (
    conv_net,
    dense_net,
    fingerprint,
    images,
    nested_net,
    randomize,
    residual_net,
    shared_net,
    subclassed_net,
)
from tests.wrappers.test_layer_compressor import numpy_compressed
from tf_metacompress import compress, finalize
from tf_metacompress.anatomy import describe, kernel_arrays, kind_of
from tf_metacompress.compression import copy_model
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.layer_tree import is_redirected, leaf_layers, weight_of
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.sparsity import measure_sparsity
from tf_metacompress.wrappers import CompressedModel, FreezeRanges

layers = keras.layers
POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8)])
MODELS = [conv_net, residual_net, nested_net, shared_net, subclassed_net]
every_model = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


@functools.cache
def pair(make):
    """A model and its student, for tests that only read them; made once in a process."""
    model = make()
    return model, compress(model, POLICY)


def data_for(model, count=8):
    generator = np.random.default_rng(0)
    if model.name == "shared_net":
        sides = [generator.normal(size=(count, 5)).astype("float32") for _ in "lr"]
        return dict(zip(("left", "right"), sides, strict=True))
    shape = (8, 8, 1) if model.name == "subclassed_net" else model.input_shape[1:]
    return generator.normal(size=(count, *shape)).astype("float32")


def gains(model):
    """What inference multiplies each kernel with, from the folded and the plain kernels."""
    folded, plain = kernel_arrays(model), kernel_arrays(model, folded=False)
    return {
        path: folded[path][-1] / np.where(plain[path][-1] == 0, 1.0, plain[path][-1])
        for path in plain
    }


def oracle(model, policy):
    """A copy of a model with kernels masked and rounded by NumPy."""
    copy, gain = copy_model(model), gains(model)
    leaves = leaf_layers(copy)
    for plan in policy.resolve(describe(model)):
        kernels = kind_of(leaves[plan.layer]).kernels
        for name, axis in kernels.items():
            variable = weight_of(leaves[plan.layer], name)
            folds = gain[plan.layer] if name == list(kernels)[-1] else 1.0
            variable.assign(
                numpy_compressed(variable.numpy(), plan.sparsity, plan.weight_bits, axis, folds)
            )
    return copy


@every_model
def test_the_student_computes_with_masked_grid_kernels(make):
    model, student = pair(make)
    x = data_for(model)
    expected = oracle(model, POLICY)(x)
    np.testing.assert_allclose(student(x), expected, atol=2e-5)
    np.testing.assert_allclose(tf.function(student)(x), expected, atol=2e-5)
    assert np.abs(student(x) - model(x)).max() > 1e-3


@every_model
def test_the_final_model_is_plain_and_equals_the_student(make):
    model, student = pair(make)
    x = data_for(model)
    final = finalize(student)
    assert type(final) is type(model)
    assert not any(is_redirected(layer) for layer in leaf_layers(final).values())
    np.testing.assert_allclose(final(x), student(x), atol=2e-5)
    expected = kernel_arrays(oracle(model, POLICY), folded=False)
    for path, kernels in kernel_arrays(final, folded=False).items():
        for kernel, wanted in zip(kernels, expected[path], strict=True):
            np.testing.assert_allclose(kernel, wanted, rtol=1e-5, atol=1e-7)


@every_model
def test_the_original_is_untouched(make):
    model = make()
    model.compile("adam", loss="mse", metrics=["mae"])
    before = fingerprint(model)
    student = compress(model, POLICY)
    student.compile("sgd", loss="mse", run_eagerly=True)
    x = data_for(model)
    student.fit(x, np.zeros_like(model(x)), verbose=0)
    final = finalize(student)
    randomize(final, seed=9)
    assert fingerprint(model) == before
    assert before[1] == []
    shared = {id(v) for v in model.variables} & {
        id(v) for v in (*student.variables, *final.variables)
    }
    assert not shared


def test_finalizing_leaves_the_student_trainable():
    student = compress(conv_net(), POLICY)
    x = data_for(student.network)
    before = student(x).numpy()
    finalize(student)
    np.testing.assert_array_equal(student(x), before)
    student.compile("sgd", loss="mse", run_eagerly=True)
    student.fit(x, np.zeros((8, 3)), verbose=0)
    assert np.abs(student(x) - before).max() > 1e-4


@pytest.fixture(scope="module")
def trained():
    """A student after five epochs on the default compile settings, XLA among them."""
    keras.utils.set_random_seed(0)
    policy = Policy(
        [Rule("*", sparsity=0.6, weight_bits=8), Rule("conv", sparsity=0.4, weight_bits=4)]
    )
    model = conv_net()
    student = compress(model, policy)
    student.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = images(64)
    history = student.fit(x, y, epochs=5, batch_size=16, validation_split=0.25, verbose=0)
    return model, student, history.history, (x, y)


def test_fit_evaluate_and_predict(trained):
    _, student, history, (x, y) = trained
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["loss"][-1] < history["loss"][0]
    loss, accuracy = student.evaluate(x, y, verbose=0)
    predictions = student.predict(x, verbose=0)
    assert accuracy == pytest.approx(np.mean(predictions.argmax(1) == y))
    assert loss == pytest.approx(-np.log(predictions[np.arange(64), y]).mean(), rel=1e-3)


def test_training_moves_the_weights_and_leaves_the_masks(trained):
    model, student, _, _ = trained
    moved = np.abs(student.network.get_layer("conv").kernel - model.get_layer("conv").kernel)
    assert moved.max() > 1e-3
    sparsity = measure_sparsity(student).layers
    sizes = {info.name: [kernel.size for kernel in info.kernels] for info in describe(model)}
    for name, target in (("conv", 0.4), ("depthwise", 0.6), ("separable", 0.6), ("head", 0.6)):
        zeros = sum(round(target * size) for size in sizes[name])
        assert sparsity[name] * sum(sizes[name]) >= zeros - 1e-9


def integers_on_grid(kernel, bits, axis):
    others = tuple(a for a in range(kernel.ndim) if a not in axis)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0) / (2 ** (bits - 1) - 1)
    integers = kernel / scale
    np.testing.assert_allclose(integers, np.round(integers), atol=2e-3)
    return np.round(integers).astype(int)


def test_final_kernels_lie_on_the_grid_before_and_after_folding(trained):
    _, student, _, _ = trained
    final = finalize(student)
    bits = {plan.layer: plan.weight_bits for plan in (c.plan for c in student.compressors)}
    folded, plain = kernel_arrays(final), kernel_arrays(final, folded=False)
    infos = [info for info in describe(final) if info.compressible]
    for info in infos:
        for kernel, before, after in zip(
            info.kernels, plain[info.name], folded[info.name], strict=True
        ):
            integers = integers_on_grid(before, bits[info.name], kernel.channel_axis)
            again = integers_on_grid(after, bits[info.name], kernel.channel_axis)
            np.testing.assert_array_equal(np.abs(again), np.abs(integers))
            np.testing.assert_array_equal(again == 0, before == 0)
    conv = integers_on_grid(plain["conv"][0], 4, (3,))
    assert np.abs(conv).max() == 7
    assert np.sum(plain["conv"][0] == 0) >= round(0.4 * 36)


def test_the_final_model_has_all_other_weights_of_the_student(trained):
    _, student, _, _ = trained
    final = finalize(student)
    kernels = {id(k) for c in student.compressors for k in (getattr(c.layer, n) for n in c.kernels)}
    compared = 0
    for theirs, ours in zip(student.network.variables, final.variables, strict=True):
        if id(theirs) not in kernels:
            np.testing.assert_array_equal(theirs, ours)
            compared += 1
    assert compared == len(final.variables) - 5


def test_final_predictions_agree_with_the_student_up_to_activation_rounding(trained):
    _, student, _, (x, _) = trained
    np.testing.assert_allclose(finalize(student)(x), student(x), atol=0.05)


FRESH = """
import sys
import numpy as np

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tf_metacompress":
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
import keras
x = np.load("x.npy")
final = keras.models.load_model("final.keras")
np.testing.assert_allclose(final(x), np.load("final.npy"), atol=1e-5)
assert "tf_metacompress" not in sys.modules
sys.meta_path.pop(0)

import tf_metacompress as tmc
student = keras.models.load_model("student.keras")
np.testing.assert_allclose(student(x), np.load("student.npy"), atol=1e-5)
again = tmc.finalize(student)
for one, other in zip(again.weights, final.weights, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)
before = student.optimizer.iterations.numpy()
student.fit(x, np.load("y.npy"), verbose=0)
assert student.optimizer.iterations.numpy() == before + 2
"""


@pytest.mark.slow
def test_files_load_in_a_new_process_and_the_final_one_without_this_package(trained, tmp_path):
    _, student, _, (x, y) = trained
    final = finalize(student)
    student.save(tmp_path / "student.keras")
    final.save(tmp_path / "final.keras")
    for name, array in (("x", x), ("y", y), ("student", student(x)), ("final", final(x))):
        np.save(tmp_path / f"{name}.npy", array)
    run_script("-c", FRESH, cwd=tmp_path)


@pytest.mark.slow
@every_model
def test_a_student_survives_saving(make, tmp_path):
    student = compress(make(), POLICY)
    x = data_for(student.network)
    student(x, training=True)
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    assert isinstance(again, CompressedModel)
    np.testing.assert_allclose(again(x), student(x), atol=1e-6)
    np.testing.assert_allclose(finalize(again)(x), finalize(student)(x), atol=1e-6)


def test_a_checkpoint_in_the_middle_of_training_is_sparse(tmp_path):
    student = compress(dense_net(), POLICY)
    student.compile("sgd", loss="mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    student.fit(x, np.zeros((8, 3)), epochs=2, verbose=0, callbacks=checkpoint)
    again = keras.models.load_model(tmp_path / "best.keras")
    assert measure_sparsity(again).total == 0.5


# Activation ranges


class Ranges(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.after = []

    def on_epoch_end(self, epoch, logs=None):
        found = {c.plan.layer: c.output_range for c in self.model.compressors}
        self.after.append(
            {
                path: (float(r.range_min.numpy()), float(r.range_max.numpy()))
                for path, r in found.items()
                if r is not None
            }
        )


def test_ranges_are_moving_averages_and_stand_still_at_the_end():
    model = randomize(dense_net())
    student = compress(model, POLICY)
    student.compile(keras.optimizers.SGD(0.0), loss="mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(12, 12)).astype("float32")
    seen = Ranges()
    student.fit(
        x, np.zeros((12, 3)), batch_size=4, shuffle=False, epochs=10, verbose=0, callbacks=[seen]
    )
    hidden = oracle(model, POLICY).get_layer("hidden")
    largest = [float(np.max(hidden(x[i : i + 4]))) for i in (0, 4, 8)]
    average, expected = None, []
    for _ in range(10):
        for value in largest:
            average = value if average is None else 0.95 * average + 0.05 * value
        expected.append(average)
    expected[8:] = expected[7:8] * 2  # frozen for the last fifth
    got = [after["hidden"] for after in seen.after]
    np.testing.assert_allclose([high for _, high in got], expected, rtol=1e-5)
    assert all(low == 0.0 for low, _ in got)
    assert list(seen.after[0]) == ["hidden"]  # softmax has a fixed grid


def frozen_after(epochs, callbacks, positional=False):
    student = compress(dense_net(), POLICY)
    student.compile("sgd", loss="mse", run_eagerly=True)
    ranges = [c.output_range for c in student.compressors if c.output_range is not None]
    x, y, frozen = np.zeros((4, 12), "float32"), np.zeros((4, 3)), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: frozen.append(float(ranges[0].frozen.numpy()))
    )
    callbacks = [*callbacks(ranges), note]
    if positional:
        student.fit(x, y, 4, epochs, 0, callbacks)
    else:
        student.fit(x, y, epochs=epochs, verbose=0, callbacks=callbacks)
    return frozen


@pytest.mark.slow
@pytest.mark.parametrize("positional", [False, True])
def test_ranges_freeze_for_the_last_fifth_or_as_the_user_says(positional):
    assert frozen_after(5, lambda ranges: [], positional) == [0, 0, 0, 0, 1]
    own = frozen_after(4, lambda ranges: [FreezeRanges(ranges, after=0.25)], positional)
    assert own == [0, 1, 1, 1]


def test_a_float_policy_quantises_no_activation():
    student = compress(conv_net(), Policy([Rule("*", sparsity=0.5)]))
    assert all(compressor.output_range is None for compressor in student.compressors)
    assert {c.plan.layer for c in student.compressors} == {"conv", "depthwise", "separable", "head"}


def test_an_integer_policy_quantises_where_the_device_does():
    student = compress(residual_net(), Policy([Rule("stem", weight_bits=8)]))
    ranges = {c.plan.layer for c in student.compressors if c.output_range is not None}
    assert ranges == {"relu_stem", "bn_branch", "relu_join", "fused", "hidden"}


def test_an_empty_policy_changes_nothing():
    model = conv_net()
    x = data_for(model)
    np.testing.assert_array_equal(compress(model, Policy())(x), model(x))


# What the policy may say, and what the model may hold


def test_a_layer_too_small_for_its_sparsity_is_refused_before_any_work():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="tiny"), layers.Dense(2)])
    with pytest.raises(InvalidArgumentError, match="'tiny' is too small.*leave no weight"):
        compress(model, Policy([Rule("*", sparsity=0.99, weight_bits=8)]))


def test_a_kernel_of_zeros_stays_zero():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_initializer="zeros")])
    student = compress(model, POLICY)
    assert np.isfinite(student(np.ones((1, 4)))).all()
    assert not finalize(student).layers[0].kernel.numpy().any()


def test_frozen_layers_stay_frozen():
    model = conv_net()
    model.get_layer("conv").trainable = False
    student = compress(model, POLICY)
    trainable = {v.path for v in student.trainable_variables}
    assert trainable == {v.path for v in model.trainable_variables}
    assert not finalize(student).get_layer("conv").trainable


def unquantised_integers():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Discretization([0.0, 1.0], name="bins"),
            layers.Embedding(3, 4, name="embedding"),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ]
    )


def lstm_with_states():
    inputs = keras.Input((5, 4))
    states = layers.LSTM(3, return_state=True)(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(states)))


def attention():
    inputs = keras.Input((5, 4))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(inputs, inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def wrapped():
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.Bidirectional(layers.LSTM(2)),
            layers.Dense(2),
        ]
    )


def masked_tokens():
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.Dense(4),
            layers.LSTM(3),
            layers.Dense(2),
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [unquantised_integers, lstm_with_states, attention, wrapped, masked_tokens]
)
def test_unusual_layers_never_stop_a_model(make):
    model = randomize(make())
    student = compress(model, POLICY)
    student.compile(keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)
    generator = np.random.default_rng(0)
    shape = (8, *model.input_shape[1:])
    is_int = model.inputs[0].dtype == "int32"
    x = generator.integers(0, 9, shape) if is_int else generator.normal(size=shape)
    student.fit(x, np.zeros((8, 2)), verbose=0)
    expected = oracle(model, POLICY)(x).numpy()
    np.testing.assert_allclose(student(x), expected, atol=0.05 * np.abs(expected).max())
    np.testing.assert_allclose(finalize(student)(x), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = conv_net()
        student = compress(model, POLICY)
    finally:
        keras.config.set_dtype_policy("float32")
    x = data_for(model)
    final = finalize(student)
    for kernels in kernel_arrays(final, folded=False).values():
        assert all(kernel.dtype == np.float32 for kernel in kernels)
    integers_on_grid(final.get_layer("conv").kernel.numpy(), 8, (3,))
    student.compile("sgd", loss="mse", run_eagerly=True)
    student.fit(x, np.zeros((8, 3)), verbose=0)
    assert student(x).dtype == model(x).dtype
    assert measure_sparsity(student).total == pytest.approx(0.5, abs=0.02)


def test_a_compressed_model_cannot_be_compressed_again():
    student = compress(conv_net(), POLICY)
    for model in (student, student.network):
        with pytest.raises(UnsupportedModelError, match="compressed already"):
            compress(model, POLICY)
    compress(finalize(student), POLICY)


def test_a_policy_of_another_model_is_an_error():
    policy = Policy([Rule("conv", weight_bits=8), Rule("hidden", weight_bits=8)])
    with pytest.raises(InvalidArgumentError, match="fits no layer.*hidden"):
        compress(conv_net(), policy)
    with pytest.raises(InvalidArgumentError, match="cannot be compressed: bn1"):
        compress(conv_net(), Policy([Rule("bn1", weight_bits=8)]))


@pytest.mark.parametrize("policy", [None, {"conv": 0.5}, [Rule("*")], "policy.json"])
def test_what_is_not_a_policy_is_a_type_error(policy):
    with pytest.raises(ArgumentTypeError, match="`policy` must be a Policy"):
        compress(conv_net(), policy)


def test_only_a_student_can_be_finalized():
    with pytest.raises(ArgumentTypeError, match="made by `compress`"):
        finalize(conv_net())


def test_a_subclassed_model_without_a_config_is_refused_in_words():
    class NoConfig(keras.Model):
        def __init__(self, activation):
            super().__init__()
            self.dense = layers.Dense(3, activation=activation)

        def call(self, x):
            return self.dense(x)

    model = NoConfig(lambda x: x)
    model(np.zeros((1, 4)))
    with pytest.raises(UnsupportedModelError, match="NoConfig.*MetaCompress callback"):
        compress(model, Policy([Rule("*", weight_bits=8)]))


def test_a_class_whose_config_makes_another_model_is_refused_in_words():
    class Growing(keras.Model):
        made = 2

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            Growing.made += 1
            self.dense = layers.Dense(Growing.made)

        def call(self, x):
            return self.dense(x)

    model = Growing()
    model(np.zeros((1, 4)))
    with pytest.raises(UnsupportedModelError, match="Growing.*other weights"):
        compress(model, Policy([Rule("*", weight_bits=8)]))
