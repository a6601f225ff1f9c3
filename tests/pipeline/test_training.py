"""Training with a number of steps and a bar."""

import sys

import keras
import numpy as np
import pytest

from tests.small_models import dense_net
from tf_metacompress.pipeline.training import Training, epochs_for, train

X, Y = np.random.default_rng(0).normal(size=(130, 12)).astype("float32"), np.arange(130) % 3


class StopAt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def short(quiet=False):
    return Training(num_steps=6, learning_rate=0.01, quiet=quiet)


@pytest.mark.parametrize(("steps", "examples", "epochs"), [(6, 130, 2), (1, 130, 1), (10, 3, 10)])
def test_steps_become_whole_epochs(steps, examples, epochs):
    assert epochs_for(steps, examples) == epochs


def test_few_steps_on_many_examples_stay_few():
    model = train(dense_net(), (X, Y), Training(num_steps=1, learning_rate=0.1), description="n")
    assert int(model.optimizer.iterations) == 1


def test_the_rate_falls_to_a_hundredth():
    model = train(dense_net(), (X, Y), short(), description="net")
    assert int(model.optimizer.iterations) == 6
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.slow
def test_a_terminal_gets_a_bar_with_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(dense_net(), (X, Y), short(), description="net")
    shown = capsys.readouterr().err
    assert "net:   0%" in shown and "0/6" in shown and "<" in shown
    train(dense_net(), (X, Y), short(quiet=True), description="net")
    assert capsys.readouterr().err == ""


def test_anything_else_gets_no_bar(capsys):
    train(dense_net(), (X, Y), short(), description="net")
    assert capsys.readouterr() == ("", "")


def test_the_bar_goes_when_training_is_interrupted(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(KeyboardInterrupt):
        train(dense_net(), (X, Y), short(), description="net", callbacks=[StopAt()])
    assert capsys.readouterr().err.endswith("\r")
