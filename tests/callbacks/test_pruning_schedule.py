"""Masks that grow during `fit`, along schedules of this package and of tfmot."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.fresh_python import run_script
from tests.small_models import dense_net, randomize
from tf_metacompress import compress, finalize
from tf_metacompress.callbacks import PruningSchedule
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.schedules import ConstantSparsity, PolynomialSparsity
from tf_metacompress.sparsity import measure_sparsity

TARGET = 0.8
SIZES = {"hidden": 12 * 16, "head": 16 * 3}


class Zeros(keras.callbacks.Callback):
    """Notes the zeros of each layer that a batch is about to be trained with."""

    def __init__(self):
        super().__init__()
        self.zeros = []

    def on_train_batch_begin(self, batch, logs=None):
        masks = {c.plan.layer: c.masks["kernel"].numpy() for c in self.model.compressors if c.masks}
        self.zeros.append({path: int(np.sum(mask == 0)) for path, mask in masks.items()})


def fit(schedule, epochs=3, **compile_options):
    """Three batches an epoch; returns the student and the zeros before each batch."""
    student = compress(randomize(dense_net()), Policy([Rule("*", sparsity=TARGET, weight_bits=8)]))
    student.compile("sgd", loss="mse", **{"jit_compile": False, **compile_options})
    x = np.random.default_rng(0).normal(size=(12, 12)).astype("float32")
    seen = Zeros()
    student.fit(
        x, np.zeros((12, 3)), batch_size=4, epochs=epochs, verbose=0, callbacks=[schedule, seen]
    )
    return student, seen.zeros


def expected(fractions):
    return [
        {path: round(TARGET * fraction * size) for path, size in SIZES.items()}
        for fraction in fractions
    ]


def cubic(step, begin, end):
    return 1 - (1 - min(max((step - begin) / (end - begin), 0), 1)) ** 3


def test_the_default_schedule_is_cubic():
    student, zeros = fit(PruningSchedule(begin_step=1, end_step=6, frequency=2))
    updates = [0, 1, 1, 3, 3, 5, 6, 6, 6]  # the step that last updated, at each of the nine
    assert zeros == expected(cubic(step, 1, 6) for step in updates)
    assert measure_sparsity(finalize(student)).layers == {
        path: round(TARGET * size) / size for path, size in SIZES.items()
    }


def test_a_constant_schedule():
    _, zeros = fit(PruningSchedule(ConstantSparsity(begin_step=4, frequency=100)))
    assert zeros == expected([0.0] * 4 + [1.0] * 5)


def test_a_linear_schedule_with_a_start():
    schedule = PolynomialSparsity(end_step=8, frequency=4, power=1.0, initial_fraction=0.5)
    _, zeros = fit(PruningSchedule(schedule))
    assert zeros == expected([0.5] * 4 + [0.75] * 4 + [1.0])


def test_a_function_of_the_user():
    _, zeros = fit(PruningSchedule(lambda step: (step == 5, 0.5 if step >= 5 else 0.25)))
    assert zeros == expected([0.25] * 5 + [0.5] * 4)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_target_is_reached_when_training_ends_early(epochs):
    student, zeros = fit(PruningSchedule(end_step=1000, frequency=1), epochs)
    assert zeros[-1]["hidden"] < 10
    assert measure_sparsity(student).total == pytest.approx(TARGET, abs=0.01)


@pytest.mark.parametrize("first", [True, False])
def test_restoring_earlier_weights_does_not_lose_sparsity(first):
    student = compress(randomize(dense_net()), Policy([Rule("*", sparsity=TARGET)]))
    student.compile(keras.optimizers.SGD(-1.0), loss="mse", run_eagerly=True)  # ever worse
    restore = keras.callbacks.EarlyStopping(
        monitor="loss", patience=3, restore_best_weights=True, start_from_epoch=0
    )
    callbacks = [restore, PruningSchedule(end_step=3, frequency=1)]
    x = np.random.default_rng(0).normal(size=(4, 12)).astype("float32")
    student.fit(
        x, np.zeros((4, 3)), epochs=5, verbose=0, callbacks=callbacks[:: 1 if first else -1]
    )
    assert restore.best_epoch < 2
    assert measure_sparsity(student).total == pytest.approx(TARGET, abs=0.01)


def test_steps_that_run_in_one_execution_all_count():
    _, zeros = fit(PruningSchedule(end_step=6, frequency=3), epochs=4, steps_per_execution=3)
    assert zeros == expected(cubic(step, 0, 6) for step in (0, 3, 6, 6))


@pytest.mark.parametrize("order", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_a_training_resumed_by_backup_and_restore_goes_on_where_it_was(tmp_path, order):
    seen = Zeros()
    x = np.random.default_rng(0).normal(size=(12, 12)).astype("float32")

    def train(stop_at):
        student = compress(randomize(dense_net()), Policy([Rule("*", sparsity=TARGET)]))
        student.compile("adam", loss="mse", run_eagerly=True)

        class Crash(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == stop_at:
                    raise KeyboardInterrupt

        callbacks = [
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            PruningSchedule(begin_step=1, end_step=10, frequency=2),
        ]
        student.fit(
            x, np.zeros((12, 3)), batch_size=4, epochs=4, verbose=0,
            callbacks=[*callbacks[::order], seen, Crash()],
        )  # fmt: skip
        return student

    with pytest.raises(KeyboardInterrupt):
        train(stop_at=2)
    student = train(stop_at=None)
    updates = [0, 1, 1, 3, 3, 5, 5, 7, 7, 9, 10, 10]
    updates[6] = 6  # the restored masks are brought to where the schedule is
    assert seen.zeros == expected(cubic(step, 1, 10) for step in updates)
    assert measure_sparsity(student).total == pytest.approx(TARGET, abs=0.01)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_pruned_weights_are_zero_in_the_variables_too(momentum):
    student = compress(randomize(dense_net()), Policy([Rule("*", sparsity=TARGET)]))
    student.compile(keras.optimizers.SGD(0.1, momentum=momentum), loss="mse", run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(12, 12)).astype("float32")
    schedule = PruningSchedule(end_step=4, frequency=1)
    student.fit(x, np.zeros((12, 3)), batch_size=2, verbose=0, callbacks=[schedule])
    assert measure_sparsity(student.network).total == pytest.approx(TARGET, abs=0.01)


class LikeTfmot:
    """What tfmot's PolynomialDecay does, without tfmot."""

    def __init__(self, **config):
        self.config = config

    def __call__(self, step):
        c = self.config
        passed = (step - c["begin_step"]) / (c["end_step"] - c["begin_step"])
        left = (1 - min(max(passed, 0.0), 1.0)) ** c["power"]
        sparsity = c["final_sparsity"] + (c["initial_sparsity"] - c["final_sparsity"]) * left
        is_due = c["begin_step"] <= step <= c["end_step"]
        is_due = is_due and (step - c["begin_step"]) % c["frequency"] == 0
        return tf.constant(is_due), tf.constant(sparsity, tf.float32)

    def get_config(self):
        return {"class_name": "PolynomialDecay", "config": self.config}


def test_of_a_tfmot_schedule_the_shape_is_taken():
    schedule = LikeTfmot(
        initial_sparsity=0.25, final_sparsity=0.5, power=3, begin_step=1, end_step=7, frequency=3
    )
    _, zeros = fit(PruningSchedule(schedule))
    # Half of tfmot's final sparsity at the start, so half of the policy's target.
    shares = [0.0, 0.5, 0.5, 0.5, *[1 - 0.5 * 0.5**3] * 3, 1.0, 1.0]
    assert zeros == expected(shares)


@pytest.mark.slow
def test_real_tfmot_schedules_give_the_fractions_of_ours():
    run_script(
        "-c",
        """
import tensorflow as tf
tf.keras
import tensorflow_model_optimization as tfmot
from tf_metacompress.callbacks import PruningSchedule
from tf_metacompress.schedules import ConstantSparsity, PolynomialSparsity

theirs = tfmot.sparsity.keras
pairs = [
    (theirs.PolynomialDecay(0.0, 0.8, begin_step=3, end_step=23, power=3, frequency=4),
     PolynomialSparsity(begin_step=3, end_step=23, frequency=4)),
    (theirs.PolynomialDecay(0.2, 0.8, begin_step=0, end_step=20, power=2, frequency=5),
     PolynomialSparsity(end_step=20, frequency=5, power=2.0, initial_fraction=0.25)),
    (theirs.ConstantSparsity(0.7, begin_step=5, end_step=15, frequency=5),
     ConstantSparsity(begin_step=5, end_step=15, frequency=5)),
]
for tfmot_schedule, ours in pairs:
    schedule = PruningSchedule(tfmot_schedule).schedule
    for step in range(30):
        update, fraction = schedule(step)
        expected_update, expected = ours(step)
        assert update == expected_update, (tfmot_schedule.get_config(), step)
        if step >= ours.begin_step:
            assert abs(fraction - expected) < 1e-6, (tfmot_schedule.get_config(), step)
""",
    )


def test_a_plain_model_is_refused():
    model = dense_net()
    model.compile("sgd", loss="mse", jit_compile=False)
    with pytest.raises(ArgumentTypeError, match="made by `compress`.*MetaCompress"):
        model.fit(np.zeros((4, 12)), np.zeros((4, 3)), verbose=0, callbacks=[PruningSchedule()])


def test_bad_arguments_are_errors():
    with pytest.raises(InvalidArgumentError, match="end_step"):
        PruningSchedule(begin_step=5, end_step=5)
    with pytest.raises(ArgumentTypeError, match="schedule"):
        PruningSchedule(0.5)
