"""Short trials, against Keras's own optimizer and training."""

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress.meta import InnerLoop
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.trials import (
    Trial,
    adam_state,
    adam_step,
    halving_losses,
    recovery_losses,
)
from tf_metacompress.policy import Action, Budget, device
from tf_metacompress.tasks import Task


def test_a_step_of_adam_is_the_step_of_keras():
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape).astype("float32") for shape in ((3, 2), (4,))]
    variables = [keras.Variable(value) for value in start]
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)
    state = adam_state([tf.constant(value) for value in start])
    for scale in (1.0, 1e-3, 100.0, 0.0):
        gradients = [tf.constant(scale * generator.normal(size=v.shape), "float32") for v in start]
        optimizer.apply(gradients, variables)
        state = adam_step(state, gradients, 2e-3)
        for found, expected in zip(state[0], variables, strict=True):
            np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def trial():
    """A trial on a small net with BatchNormalization; one action leaves all weights as they are."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 3, use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
    generator = np.random.default_rng(1)
    x = generator.normal(size=(24, 6, 6, 1)).astype("float32")
    pairs = (x[:16], np.arange(16) % 3), (x[16:], np.arange(8) % 3)
    task = Task(model, Budget(size_ratio=1.0), support=pairs[0], query=pairs[1])
    actions = (Action(0.0, 32), Action(0.5, 8), Action(0.9, 8))
    everything = replace(device("x86-host"), weight_bits={"*": (8, 32)})
    compiler = TaskCompiler(actions, 0.05, InnerLoop())
    return Trial(compiler.prepare(replace(task, device=everything))), pairs


@pytest.mark.slow
def test_steps_of_a_trial_are_those_of_fit(trial):
    found, (support, query) = trial
    model = keras.models.clone_model(found.prepared.task.model)
    model.set_weights(found.prepared.task.model.get_weights())
    falling = keras.optimizers.schedules.PolynomialDecay(2e-3, found.num_steps, 0.0)
    model.compile(keras.optimizers.Adam(falling), "sparse_categorical_crossentropy")
    before = found.prepared.task.model.get_weights()
    state = found.run(found.begin(np.zeros(2, int)), 3)
    for _ in range(3):
        model.train_on_batch(*support)
    theta, freed = found.weights(state)
    for ours, keras_s in zip(theta, model.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, np.asarray(keras_s), atol=2e-6)
    for ours, keras_s in zip(state.others, model.non_trainable_variables, strict=True):
        np.testing.assert_allclose(ours, np.asarray(keras_s), atol=2e-6)
    for index, variable in enumerate(model.non_trainable_variables):
        start = np.asarray(found.prepared.task.model.non_trainable_variables[index])
        variable.assign((np.asarray(variable) - 0.9**3 * start) / (1 - 0.9**3))
        np.testing.assert_allclose(freed[index], np.asarray(variable), atol=1e-5)
    assert found.loss(state) == pytest.approx(model.evaluate(*query, verbose=0), rel=1e-4)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(before, found.prepared.task.model.get_weights(), strict=True)
    )


def test_steps_go_on_where_they_stopped(trial):
    found, _ = trial
    whole = found.run(found.begin(np.array([1, 0])), 4)
    parts = found.run(found.run(found.begin(np.array([1, 0])), 1), 3)
    assert found.loss(whole) == found.loss(parts)


def test_trials_show_their_progress_on_a_terminal(trial, monkeypatch, capsys):
    found, _ = trial
    choices = {"first": np.array([0, 0]), "other": np.array([1, 1])}
    for is_terminal, quiet in ((True, False), (True, True), (False, False)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda value=is_terminal: value)
        halving_losses(found.prepared, choices, 2, quiet=quiet)
        shown = capsys.readouterr().err
        assert ("try proposals: 100%" in shown) == (is_terminal and not quiet)


def test_halving_tries_the_better_half_to_the_end_and_equal_choices_once(trial):
    found, _ = trial
    choices = {"first": [0, 0], "same": [0, 0], "worst": [2, 2], "worse": [1, 2]}
    choices = {name: np.array(choice) for name, choice in choices.items()}
    full = recovery_losses(found.prepared, choices, 6)
    halved = halving_losses(found.prepared, choices, 6)
    six = Trial(found.prepared, 6)
    half = {name: six.loss(six.run(six.begin(choice), 3)) for name, choice in choices.items()}
    best = sorted({"first", "worst", "worse"}, key=half.get)[:2]
    expected = {name for name in choices if name in best or ("first" in best and name == "same")}
    assert set(halved) == expected
    for name, loss in halved.items():
        assert loss == pytest.approx(full[name], rel=1e-5)
    assert full["first"] == full["same"]


def test_when_no_choice_leaves_a_finite_loss_all_losses_are_told(monkeypatch):
    monkeypatch.setattr(Trial, "__init__", lambda self, prepared, num_steps: None)
    monkeypatch.setattr(Trial, "num_steps", 4, raising=False)
    monkeypatch.setattr(Trial, "begin", lambda self, choice: choice)
    monkeypatch.setattr(Trial, "run", lambda self, state, num_steps: state)
    monkeypatch.setattr(Trial, "loss", lambda self, state: np.nan)
    found = halving_losses(None, {"one": np.array([0]), "other": np.array([1])})
    assert set(found) == {"one", "other"} and np.isnan(list(found.values())).all()
