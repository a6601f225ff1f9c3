"""One callback that compresses a plain, compiled model in place."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import (
    conv_net,
    dense_net,
    images,
    nested_net,
    randomize,
    shared_net,
    subclassed_net,
    tiny_net,
)
from tests.test_compression import integers_on_grid
from tf_metacompress.anatomy import describe, kernel_arrays
from tf_metacompress.callbacks import MetaCompress, SparsityLogger
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.layer_tree import is_redirected, leaf_layers
from tf_metacompress.policy import Budget, Policy, Rule
from tf_metacompress.sparsity import measure_sparsity

layers = keras.layers
POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8)])


class NoConfig(keras.Model):
    """A subclassed model that cannot be copied."""

    def __init__(self, activation):
        super().__init__()
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = layers.Dense(3, name="head")
        self.activation = activation

    def call(self, x, training=False):
        x = self.activation(self.norm(self.conv(x), training=training))
        return self.head(self.pool(x))


def no_config():
    model = NoConfig(lambda x: keras.ops.relu(x))
    model(np.zeros((1, 8, 8, 1), "float32"))
    return model


def compiled(model, **options):
    """Runs eagerly unless told otherwise: for a few steps that is faster than tracing."""
    ends_in_softmax = model.name in ("conv_net", "tiny_net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax)
    if not options:
        options = {"run_eagerly": True}
    model.compile("sgd", loss=loss, metrics=["accuracy"], **options)
    return model


def is_plain(model):
    return not any(is_redirected(layer) for layer in leaf_layers(model).values())


def zeros_as_planned(model, policy):
    infos = [info for info in describe(model) if info.compressible]
    kernels = kernel_arrays(model, folded=False)
    for info, plan in zip(infos, policy.resolve(describe(model)), strict=True):
        for kernel, found in zip(info.kernels, kernels[info.name], strict=True):
            assert np.sum(found == 0) >= round(plan.sparsity * kernel.size), info.name
            if plan.weight_bits < 16:
                integers_on_grid(found, plan.weight_bits, kernel.channel_axis)


@pytest.mark.parametrize(
    "make",
    [
        tiny_net,
        *(
            pytest.param(make, marks=pytest.mark.slow)
            for make in (no_config, conv_net, nested_net, subclassed_net)
        ),
    ],
    ids=lambda make: make.__name__,
)
def test_after_fit_the_model_is_plain_sparse_and_on_the_grid(make):
    # One of them traced, so that steps traced before the training must be traced anew.
    model = compiled(make(), **({"jit_compile": False} if make is tiny_net else {}))
    x, y = images(24)
    before = model.predict(x, verbose=0)
    names = [variable.path for variable in model.variables]
    callback = MetaCompress(policy=POLICY)
    history = model.fit(
        x, y, epochs=2, batch_size=8, verbose=0, validation_data=(x, y), callbacks=[callback]
    ).history
    assert is_plain(model)
    zeros_as_planned(model, POLICY)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert [variable.path for variable in model.variables] == names
    assert int(model.optimizer.iterations.numpy()) == 6
    after = model.predict(x, verbose=0)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, model(x, training=False), atol=1e-5)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy == pytest.approx(np.mean(after.argmax(1) == y))
    assert loss == pytest.approx(float(model.loss(y, after)), rel=1e-4)


class Predictions(keras.callbacks.Callback):
    def __init__(self, x):
        super().__init__()
        self.x, self.after = x, []

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(self.model.predict(self.x, verbose=0))


def test_steps_traced_before_and_during_the_training_are_traced_anew():
    model = randomize(dense_net())
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.SGD(0.0), loss=loss, jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
    y = np.arange(8) % 3
    dense = model.fit(x, y, verbose=0).history["loss"][0]
    during = Predictions(x)
    callback = MetaCompress(policy=Policy([Rule("*", sparsity=0.8, weight_bits=4)]))
    losses = model.fit(x, y, epochs=4, verbose=0, callbacks=[callback, during]).history["loss"]
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after, model(x), atol=1e-6)
    assert losses[0] == pytest.approx(dense, rel=0.2)
    assert losses[-1] == pytest.approx(float(loss(y, during.after[-1])), rel=1e-4)
    assert abs(losses[-1] - dense) > 0.05
    assert 1e-5 < np.abs(during.after[-1] - after).max() < 0.05  # activations were rounded


def test_the_default_compile_settings():
    model = compiled(tiny_net(), jit_compile="auto")
    x, y = images(16)
    history = model.fit(
        x, y, epochs=2, batch_size=8, verbose=0, callbacks=[MetaCompress(policy=POLICY)]
    )
    assert is_plain(model) and np.isfinite(history.history["loss"]).all()
    zeros_as_planned(model, POLICY)


class Sparsities(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(measure_sparsity(self.model).total)


def test_the_target_is_reached_half_way_and_kept():
    model, seen = compiled(tiny_net()), Sparsities()
    x, y = images(40)
    callback = MetaCompress(policy=Policy([Rule("*", sparsity=0.8)]), prune_until=0.5)
    model.fit(x, y, epochs=2, batch_size=4, verbose=0, callbacks=[callback, seen])
    assert seen.seen == sorted(seen.seen)
    assert seen.seen[0] < 0.1
    assert max(seen.seen[:8]) < 0.79 < min(seen.seen[10:])


def unknown_length(x, y):
    """A tf.data set that does not know how many batches it has."""
    signature = (tf.TensorSpec((8, 8, 1)), tf.TensorSpec((), tf.int64))
    data = tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_signature=signature
    )
    return data.batch(8)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # how Keras learns it
def test_a_data_set_of_unknown_length():
    model, seen = compiled(tiny_net()), Sparsities()
    callback = MetaCompress(policy=POLICY)
    data = unknown_length(*images(24))
    model.fit(data, epochs=4, shuffle=False, verbose=0, callbacks=[callback, seen])
    assert is_plain(model)
    zeros_as_planned(model, POLICY)
    assert seen.seen[0] < 0.1 < 0.4 < seen.seen[-1]


def test_steps_that_run_in_one_execution():
    model, seen = compiled(tiny_net(), steps_per_execution=3, jit_compile=False), Sparsities()
    x, y = images(48)
    model.fit(
        x, y, epochs=2, batch_size=4, verbose=0, callbacks=[MetaCompress(policy=POLICY), seen]
    )
    zeros_as_planned(model, POLICY)
    assert seen.seen[0] < 0.1 and seen.seen[-3] == pytest.approx(seen.seen[-1], abs=0.05)


def test_a_policy_is_proposed_for_a_budget():
    model = compiled(tiny_net())
    x, y = images(16)
    callback = MetaCompress(Budget(size_ratio=0.95))
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert callback.policy.name == "phi"
    zeros_as_planned(model, callback.policy)


def test_the_same_callback_proposes_anew_for_another_model():
    callback = MetaCompress(Budget(size_ratio=0.95))
    x, y = images(8)
    for make, layer in ((tiny_net, "conv"), (nested_net, "backbone/conv")):
        compiled(make()).fit(x, y, verbose=0, callbacks=[callback])
        assert callback.policy.rules[0].layers == layer


@pytest.mark.slow
def test_a_policy_is_adapted_to_the_support_set():
    model = compiled(no_config())
    x, y = images(16)
    callback = MetaCompress(Budget(size_ratio=0.95), support=(x, y))
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert callback.policy.name == "phi-adapted"
    zeros_as_planned(model, callback.policy)


def test_a_shared_layer_and_a_dict_of_inputs():
    model = shared_net()
    model.compile("sgd", loss="mse", run_eagerly=True)
    x = {side: np.random.default_rng(0).normal(size=(8, 5)) for side in ("left", "right")}
    model.fit(x, np.zeros((8, 2)), verbose=0, callbacks=[MetaCompress(policy=POLICY)])
    assert is_plain(model)
    zeros_as_planned(model, POLICY)


def test_other_callbacks_work_beside_it(tmp_path):
    model = compiled(tiny_net())
    x, y = images(16)
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        MetaCompress(policy=POLICY),
        SparsityLogger(),
        keras.callbacks.EarlyStopping(monitor="loss", patience=5),
    ]
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
    assert history["sparsity"][-1] >= 0.49
    for epoch in (1, 2):
        again = keras.models.load_model(tmp_path / f"{epoch}.keras")
        assert is_plain(again) and again.predict(x, verbose=0).shape == (16, 3)
    model.save(tmp_path / "final.keras")
    again = keras.models.load_model(tmp_path / "final.keras")
    zeros_as_planned(again, POLICY)


@pytest.mark.parametrize("order", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_checkpoints_are_sparse_in_any_order_of_the_callbacks(tmp_path, order):
    model = compiled(tiny_net())
    model.optimizer = keras.optimizers.Adam(0.1)  # its momentum moves weights that get no gradient
    x, y = images(32)
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
        MetaCompress(policy=POLICY, prune_until=0.5),
    ]
    model.fit(x, y, epochs=6, batch_size=8, verbose=0, callbacks=callbacks[::order])
    sparsities, again = [], tiny_net()
    for epoch in range(1, 7):
        again.load_weights(tmp_path / f"{epoch}.weights.h5")
        sparsities.append(measure_sparsity(again).layers["conv"])
    assert sparsities == sorted(sparsities)
    assert sparsities[0] < 0.5 and sparsities[3:] == [0.5] * 3


def test_weights_have_their_own_constraints_again_afterwards():
    model = compiled(tiny_net())
    kernel = model.get_layer("head").kernel
    kernel.constraint = own = keras.constraints.MaxNorm(0.5)
    model.fit(*images(8), verbose=0, callbacks=[MetaCompress(policy=POLICY)])
    assert kernel.constraint is own
    assert np.linalg.norm(kernel, axis=0).max() < 0.51
    assert model.get_layer("conv").kernel.constraint is None


class Crash(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_a_training_resumed_by_backup_and_restore_goes_on_pruning(tmp_path, order):
    x, y = images(32)
    seen = Sparsities()

    def train(*more):
        callbacks = [
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            MetaCompress(policy=POLICY, prune_until=0.9),
        ]
        model = compiled(tiny_net())
        model.fit(x, y, epochs=4, batch_size=8, verbose=0, callbacks=[*callbacks[::order], *more])
        return model

    with pytest.raises(KeyboardInterrupt):
        train(Crash(2), seen)
    reached = seen.seen[-1]
    assert 0.3 < reached < 0.5
    model = train(seen)
    assert len(seen.seen) == 16
    assert seen.seen == sorted(seen.seen) and seen.seen[8] >= reached
    zeros_as_planned(model, POLICY)


def test_a_later_initial_epoch_prunes_gradually():
    model, seen = compiled(tiny_net()), Sparsities()
    x, y = images(32)
    callback = MetaCompress(policy=POLICY, prune_until=0.5)
    model.fit(x, y, initial_epoch=4, epochs=6, batch_size=8, verbose=0, callbacks=[callback, seen])
    assert seen.seen[0] < 0.05 < seen.seen[2] < 0.5
    zeros_as_planned(model, POLICY)


def test_a_stop_in_the_middle_still_compresses():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = compiled(tiny_net())
    x, y = images(24)
    model.fit(x, y, epochs=9, verbose=0, callbacks=[MetaCompress(policy=POLICY), Stop()])
    assert is_plain(model)
    zeros_as_planned(model, POLICY)


def test_a_model_can_be_compressed_further_by_a_second_fit():
    model = compiled(tiny_net())
    x, y = images(16)
    for sparsity in (0.3, 0.7):
        policy = Policy([Rule("*", sparsity=sparsity, weight_bits=8)])
        model.fit(x, y, verbose=0, callbacks=[MetaCompress(policy=policy)])
        zeros_as_planned(model, policy)
    history = model.fit(x, y, verbose=0).history
    assert is_plain(model) and np.isfinite(history["loss"][0])


def test_an_interrupted_training_can_be_detached():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = compiled(tiny_net())
    x, y = images(16)
    callback = MetaCompress(policy=POLICY)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, verbose=0, callbacks=[callback, Interrupt()])
    assert not is_plain(model)
    with pytest.raises(UnsupportedModelError, match="compressed already"):
        model.fit(x, y, verbose=0, callbacks=[MetaCompress(policy=POLICY)])
    callback.detach()
    assert is_plain(model) and np.all(model.get_layer("conv").kernel.numpy() != 0)
    model.fit(x, y, verbose=0, callbacks=[MetaCompress(policy=POLICY)])
    zeros_as_planned(model, POLICY)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ArgumentTypeError, "budget", {}),
        (ArgumentTypeError, "budget", {"budget": 0.1}),
        (ArgumentTypeError, "policy", {"policy": {"conv": 0.5}}),
        (InvalidArgumentError, r"latency=table\)", {"budget": Budget(latency_ms=1.0)}),
        (InvalidArgumentError, "prune_until", {"policy": POLICY, "prune_until": 1.5}),
        (InvalidArgumentError, "freeze_after", {"policy": POLICY, "freeze_after": -0.1}),
    ],
)
def test_bad_arguments_are_errors_at_once(error, match, arguments):
    with pytest.raises(error, match=match):
        MetaCompress(**arguments)


def test_an_unreachable_budget_leaves_the_model_plain():
    model = compiled(tiny_net())
    x, y = images(16)
    with pytest.raises(InfeasibleBudgetError):
        model.fit(x, y, verbose=0, callbacks=[MetaCompress(Budget(size_bytes=1.0))])
    assert is_plain(model)
    model.fit(x, y, verbose=0)
