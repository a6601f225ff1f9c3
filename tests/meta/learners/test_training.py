"""`fit`: epochs, callbacks, traces, and what it leaves alone."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.learners.problems import (
    IMAGE,
    SPARSE_INT8,
    CountedSampler,
    check_equal,
    dense_net,
    everything,
    normalised_net,
    sampler,
)
from tests.small_models import fingerprint
from tf_metacompress.errors import NonFiniteLossError
from tf_metacompress.meta import ANIL, MAML, FirstOrderMAML, MAMLOptions, Reptile
from tf_metacompress.meta.learners.meta_step import MetaStep
from tf_metacompress.tasks import FewShotTask, Sinusoid

TASKS = sampler()


def learner_of(kind=FirstOrderMAML, model=None, optimizer="sgd", meta_batch_size=2, **arguments):
    compiled = {k: arguments.pop(k) for k in ("tasks_at_once", "loss") if k in arguments}
    learner = kind(model or dense_net(), inner_lr=0.1, **arguments)
    return learner.compile(optimizer, meta_batch_size=meta_batch_size, **compiled)


def fit(learner, meta_steps, **arguments):
    return learner.fit(TASKS, meta_steps=meta_steps, **{"verbose": 0, **arguments})


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append(("train", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(("begin", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(("batch", batch, sorted(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(("end", epoch, sorted(logs)))


METRICS = ["accuracy", "query_loss", "support_loss"]


def test_epochs_go_on_where_the_last_fit_stopped():
    learner, recorder = learner_of(), Recorder()
    history = fit(learner, 7, steps_per_epoch=5, callbacks=[recorder])
    assert history.epoch == [0, 1] and learner.meta_step == 7
    batches = [event[1] for event in recorder.events if event[0] == "batch"]
    assert batches == [0, 1, 2, 3, 4, 0, 1]
    assert recorder.events[0] == ("train", 2, 5)
    assert recorder.events[-1] == ("end", 1, METRICS)

    recorder.events.clear()
    history = fit(learner, 20, steps_per_epoch=5, callbacks=[recorder])
    assert history.epoch == [1, 2, 3] and learner.meta_step == 20
    batches = [event[1] for event in recorder.events if event[0] == "batch"]
    assert batches == [2, 3, 4, *range(5), *range(5)]
    assert sorted(history.history) == METRICS
    assert all(len(values) == 3 for values in history.history.values())


def test_every_meta_step_sees_new_tasks_in_order():
    tasks = CountedSampler(TASKS)
    learner = learner_of(meta_batch_size=3)
    learner.fit(tasks, meta_steps=2, verbose=0)
    assert tasks.asked == [0, *range(6)]
    learner.fit(tasks, meta_steps=3, verbose=0)
    assert tasks.asked[-3:] == [6, 7, 8]


def test_a_fit_that_is_over_does_nothing():
    learner = learner_of(optimizer="adam")
    fit(learner, 2)
    before = everything(learner)
    recorder = Recorder()
    history = fit(learner, 2, callbacks=[recorder])
    assert history.epoch == [] and history.history == {}
    assert [event[0] for event in recorder.events] == ["train"]
    check_equal(before, everything(learner))


@pytest.mark.slow
def test_meta_training_lowers_the_query_loss():
    learner = learner_of(MAML, optimizer=keras.optimizers.Adam(0.03), inner_steps=2)
    before = learner.evaluate(sampler(seed=9), num_tasks=30)
    fit(learner, 100)
    after = learner.evaluate(sampler(seed=9), num_tasks=30)
    assert after.loss + after.loss_interval < before.loss - before.loss_interval
    assert after.accuracy > before.accuracy


@pytest.mark.slow
@pytest.mark.parametrize("policy", [None, SPARSE_INT8])
def test_the_users_model_stays_as_it_is(policy):
    model = normalised_net()
    model.compile("adam", "mse")
    before = fingerprint(model)
    learner = MAML(model, policy=policy, batch_norm="support").compile("sgd", meta_batch_size=2)
    tasks = sampler(IMAGE)
    learner.fit(tasks, meta_steps=2, verbose=0)
    learner.evaluate(tasks, num_tasks=2)
    learner.adapt(tasks(0).support)
    learner.calibrate(tasks, num_tasks=1)
    assert fingerprint(model) == before
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_history_and_csv_logger_get_the_metrics(tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    history = fit(learner_of(), 4, steps_per_epoch=2, callbacks=[logger])
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in METRICS:
        assert [float(row[name]) for row in rows] == pytest.approx(history.history[name])


@pytest.mark.parametrize(
    "monitor", ["val_accuracy", pytest.param("val_query_loss", marks=pytest.mark.slow)]
)
def test_early_stopping_watches_the_validation(monitor):
    stopping = keras.callbacks.EarlyStopping(monitor=monitor, patience=1, min_delta=10.0)
    learner = learner_of()
    history = fit(learner, 50, steps_per_epoch=1, validation=sampler(seed=5), callbacks=[stopping])
    assert 1 < len(history.epoch) < 5
    assert learner.meta_step == len(history.epoch)
    assert {"val_accuracy", "val_query_loss"} <= set(history.history)


def test_a_scheduled_learning_rate_is_the_one_that_is_used():
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0 if epoch else 0.5)
    learner = learner_of()
    before = learner.model.get_weights()
    fit(learner, 1, steps_per_epoch=1, callbacks=[callback])
    after = everything(learner)[:4]
    assert not np.array_equal(before[0], after[0])
    history = fit(learner, 3, steps_per_epoch=1, callbacks=[callback])
    assert history.history["learning_rate"] == [0.0, 0.0]
    assert all(
        np.array_equal(a, b) for a, b in zip(after, learner.model.get_weights(), strict=True)
    )


def test_the_learning_rate_falls_on_a_plateau():
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="query_loss", patience=1, factor=0.1, min_delta=100.0
    )
    learner = learner_of(optimizer=keras.optimizers.SGD(0.01))
    fit(learner, 3, steps_per_epoch=1, callbacks=[callback])
    assert float(learner.compiled.optimizer.learning_rate) < 0.002


@pytest.mark.parametrize("policy", [None, pytest.param(SPARSE_INT8, marks=pytest.mark.slow)])
def test_a_model_checkpoint_is_a_keras_model(policy, tmp_path):
    path = tmp_path / "best.keras"
    callback = keras.callbacks.ModelCheckpoint(
        str(path), monitor="query_loss", mode="min", save_best_only=False
    )
    learner = learner_of(MAML, optimizer="adam", policy=policy)
    fit(learner, 2, steps_per_epoch=1, callbacks=[callback, keras.callbacks.TerminateOnNaN()])
    loaded = keras.models.load_model(path)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), learner.model.predict(x, verbose=0), atol=1e-6
    )


def test_tensorboard_is_told(tmp_path):
    pytest.importorskip("tensorboard")
    callback = keras.callbacks.TensorBoard(str(tmp_path), write_graph=False)
    fit(learner_of(), 2, steps_per_epoch=1, callbacks=[callback])
    assert list(tmp_path.rglob("events*"))


def test_a_callback_may_stop_in_the_middle_of_an_epoch():
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(learner.model, "stop_training", batch == 2)
    )
    learner = learner_of()
    fit(learner, 10, steps_per_epoch=5, callbacks=[stop])
    assert learner.meta_step == 3
    fit(learner, 10, steps_per_epoch=5)
    assert learner.meta_step == 10


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_only_a_progress_bar_shows_progress(verbose, capsys):
    fit(learner_of(), 4, steps_per_epoch=2, verbose=verbose)
    shown = capsys.readouterr().out
    assert ("━" in shown) == (verbose == 1)
    assert ("Epoch 2/2" in shown) == (verbose > 0)
    assert ("query_loss" in shown) == (verbose > 0)


@pytest.mark.parametrize("policy", [None, pytest.param(SPARSE_INT8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tasks_at_once", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_tasks_may_be_taken_in_parts(tasks_at_once, policy):
    """The ranges too: what the last task shows counts once, however tasks are taken."""
    found = []
    for number in (None, tasks_at_once):
        learner = learner_of(
            MAML, optimizer="adam", meta_batch_size=4, tasks_at_once=number, policy=policy
        )
        fit(learner, 3)
        found.append(everything(learner))
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def count_traces(monkeypatch, kind=MAML):
    traced = []
    plain = kind.task_gradient

    def counted(self, *args):
        traced.append(args[-1])
        return plain(self, *args)

    monkeypatch.setattr(kind, "task_gradient", counted)
    return traced


def test_one_trace_serves_all_tasks_of_a_shape(monkeypatch):
    traced = count_traces(monkeypatch)
    learner = learner_of(MAML, optimizer="adam", meta_batch_size=2)
    fit(learner, 1)
    once = len(traced)
    assert once in (1, 2)  # the two tasks of a batch, or one for both
    fit(learner, 5, steps_per_epoch=2)
    fit(learner, 8)
    assert len(traced) == once
    learner.fit(sampler(shots=1), meta_steps=9, verbose=0)
    assert len(traced) == 2 * once


@pytest.mark.slow
def test_one_trace_serves_each_phase_of_an_annealed_training(monkeypatch):
    traced = count_traces(monkeypatch)
    options = MAMLOptions(first_order_until=2, multi_step_loss_until=4)
    learner = learner_of(MAML, meta_batch_size=1, inner_steps=2, options=options)
    fit(learner, 7)
    phases = [(phase.first_order, phase.multi_step) for phase in traced]
    assert phases == [(True, True), (False, True), (False, False)]


def test_evaluation_and_adaptation_are_traced_once(monkeypatch):
    learner = learner_of(MAML)
    calls = []
    plain = learner.adapted
    monkeypatch.setattr(learner, "adapted", lambda *args: calls.append(1) or plain(*args))
    learner.evaluate(TASKS, num_tasks=4)
    learner.evaluate(TASKS, num_tasks=3)
    assert len(calls) == 1
    for index in range(3):
        learner.adapt(TASKS(index).support)
    assert len(calls) == 2


class Poisoned:
    """A sampler with one task that makes the loss overflow."""

    seed = 0

    def __init__(self, index):
        self.index = index

    def __call__(self, index):
        task = TASKS(index)
        if index != self.index:
            return task
        x, y = task.query
        return FewShotTask(
            support=task.support, query=(np.sign(x) * np.float32(3e38), y), rows=task.rows
        )


@pytest.mark.parametrize("policy", [None, pytest.param(SPARSE_INT8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tasks_at_once", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_a_loss_that_is_not_finite_names_task_and_step_and_moves_nothing(
    tasks_at_once, policy, tmp_path
):
    model = dense_net()
    model.layers[0].activation = keras.activations.linear
    learner = learner_of(
        MAML, model, "adam", meta_batch_size=2, tasks_at_once=tasks_at_once, policy=policy
    )
    path = str(tmp_path / "state")
    history = learner.fit(Poisoned(7), meta_steps=3, checkpoint=path, verbose=0)
    assert np.isfinite(history.history["query_loss"]).all()
    saved, before = (tmp_path / "state").read_bytes(), everything(learner)
    # Rounded to the ranges, the loss stays finite; the ranges would not.
    where = "task 1 at meta-step 3" if policy is None else "ranges .* at meta-step 3"
    with pytest.raises(NonFiniteLossError, match=where) as raised:
        learner.fit(Poisoned(7), meta_steps=9, checkpoint=path, verbose=0)
    assert (raised.value.meta_step, raised.value.task) == (3, 1 if policy is None else None)
    check_equal(before, everything(learner))
    assert (tmp_path / "state").read_bytes() == saved
    assert learner.meta_step == 3
    fit(learner, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MAML, ANIL, Reptile])
def test_regression_has_no_accuracy(kind):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, "tanh")])
    model.add(keras.layers.Dense(1))
    learner = kind(model, inner_lr=0.01).compile("adam", "mse", meta_batch_size=2)
    tasks = Sinusoid(num_shots=5, num_queries=5)
    history = learner.fit(tasks, meta_steps=2, validation=tasks, verbose=0)
    assert sorted(history.history) == ["query_loss", "support_loss", "val_query_loss"]
    assert np.isnan(learner.evaluate(tasks, num_tasks=3).accuracy)


def test_inner_and_outer_losses_may_differ():
    learner = FirstOrderMAML(dense_net(), inner_lr=0.1)
    learner.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        inner_loss=lambda y, outputs: tf.reduce_sum(outputs**2, -1),
    )
    support = TASKS(0).support
    adapted = learner.adapt(support)
    model = dense_net()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.reduce_sum(model(support[0]) ** 2, -1))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for v, g, w in zip(model.trainable_variables, gradients, adapted.get_weights(), strict=True):
        np.testing.assert_allclose(w, v - 0.1 * g, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_masks_grow_until_half_of_the_first_fit_and_stay():
    learner = learner_of(MAML, policy=SPARSE_INT8, meta_batch_size=1)
    shares = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masks = [np.asarray(m) for c in learner.network.compressors for m in c.masks.values()]
            shares.append(1.0 - np.mean(np.concatenate([np.ravel(m) for m in masks])))

    fit(learner, 8, callbacks=[Watch()])
    assert shares[0] == 0.0 and 0.0 < shares[2] < 0.49
    assert shares[4:] == [pytest.approx(0.5, abs=0.02)] * 4
    fit(learner, 20, callbacks=[Watch()])
    assert shares[8:] == [pytest.approx(0.5, abs=0.02)] * 12


def test_a_learner_shows_what_it_is():
    learner = learner_of()
    assert repr(learner) == "FirstOrderMAML('dense_net', inner_steps=1, inner_lr=0.1, meta_step=0)"
    assert isinstance(learner.traced("step", lambda: MetaStep(learner)), MetaStep)
    assert json.dumps(fit(learner, 1).history)
