"""Sparsity where Keras keeps its logs."""

import csv

import keras
import numpy as np
import pytest

from tests.small_models import dense_net, nested_net, randomize
from tf_metacompress import compress
from tf_metacompress.callbacks import PruningSchedule, SparsityLogger
from tf_metacompress.policy import Policy, Rule


def fit(model, callbacks, epochs=2):
    model.compile("sgd", loss="mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
    return model.fit(
        x, np.zeros((8, 3)), epochs=epochs, batch_size=4, verbose=0, callbacks=callbacks
    )


def student():
    return compress(randomize(dense_net()), Policy([Rule("hidden", sparsity=0.5)]))


def test_history_holds_every_layer_and_the_total():
    history = fit(student(), [SparsityLogger()]).history
    assert history["sparsity/hidden"] == [0.5, 0.5]
    assert history["sparsity/head"] == [0.0, 0.0]
    assert history["sparsity"] == pytest.approx([96 / 240] * 2)


def test_it_follows_a_schedule():
    callbacks = [PruningSchedule(end_step=4, frequency=1), SparsityLogger(per_layer=False)]
    history = fit(student(), callbacks, epochs=3).history
    # Two batches an epoch; the masks of the last one were set at steps 1, 3 and 4.
    zeros = [round(96 * (1 - (1 - step / 4) ** 3)) for step in (1, 3, 4)]
    assert history["sparsity"] == pytest.approx([z / 240 for z in zeros])
    assert "sparsity/hidden" not in history


def test_csv_logger_behind_it_writes_the_columns(tmp_path):
    path = tmp_path / "log.csv"
    fit(student(), [SparsityLogger(), keras.callbacks.CSVLogger(path)])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["sparsity/hidden"]) for row in rows] == [0.5, 0.5]
    assert {"epoch", "loss", "sparsity"} <= set(rows[0])


def test_a_plain_model_can_be_logged_too():
    model = randomize(dense_net())
    kernel = model.get_layer("head").kernel.numpy()
    model.get_layer("head").kernel.assign(np.zeros_like(kernel))
    model.get_layer("head").trainable = False
    assert fit(model, [SparsityLogger()], epochs=1).history["sparsity/head"] == [1.0]


def test_paths_of_nested_models_are_keys():
    logger = SparsityLogger()
    logger.set_model(nested_net())
    logs = {}
    logger.on_epoch_end(0, logs)
    assert set(logs) == {
        "sparsity", "sparsity/backbone/conv", "sparsity/backbone/inner/conv", "sparsity/head",
    }  # fmt: skip
    logger.on_epoch_end(0, None)
