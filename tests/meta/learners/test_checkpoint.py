"""Checkpoints: exact resume, after `kill -9` too, and files that are none."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fresh_python import ROOT
from tests.meta.learners.problems import (
    IMAGE,
    SPARSE_INT8,
    check_equal,
    dense_net,
    everything,
    normalised_net,
    sampler,
)
from tf_metacompress.errors import CorruptFileError
from tf_metacompress.meta import MAML, MetaSGD, Reptile

IMAGES = sampler(IMAGE)


def learner_of(kind=MAML, policy=None, optimizer="adam", model=None):
    learner = kind(model or normalised_net(), inner_lr=0.05, batch_norm="support", policy=policy)
    return learner.compile(optimizer, meta_batch_size=2)


def fit(learner, meta_steps, path=None, callbacks=()):
    learner.fit(
        IMAGES,
        meta_steps=meta_steps,
        steps_per_epoch=2,
        checkpoint=path,
        verbose=0,
        callbacks=callbacks,
    )
    return everything(learner)


class Interrupt(keras.callbacks.Callback):
    """Raises in the middle of the third epoch."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == 5:
            raise KeyboardInterrupt


CASES = [
    pytest.param(MAML, None, "adam", marks=pytest.mark.slow),
    pytest.param(MAML, SPARSE_INT8, "adam", marks=pytest.mark.slow),
    (Reptile, SPARSE_INT8, "adam"),
    pytest.param(MetaSGD, SPARSE_INT8, "sgd", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "policy", "optimizer"), CASES)
@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(kind, policy, optimizer, tmp_path):
    path = str(tmp_path / "state")
    whole = fit(learner_of(kind, policy, optimizer), 8)
    with pytest.raises(KeyboardInterrupt):
        fit(learner_of(kind, policy, optimizer), 8, path, [Interrupt()])
    resumed = learner_of(kind, policy, optimizer, model=normalised_net())
    check_equal(whole, fit(resumed, 8, path))
    assert resumed.meta_step == 8


@pytest.mark.slow
def test_a_training_that_is_over_stays_as_it_is(tmp_path):
    path = str(tmp_path / "state")
    done = fit(learner_of(policy=SPARSE_INT8), 3, path)
    check_equal(done, fit(learner_of(policy=SPARSE_INT8), 3, path))


@pytest.mark.slow
def test_a_restored_learner_adapts_as_the_one_that_was_saved(tmp_path):
    path = str(tmp_path / "state")
    saved, restored = learner_of(MetaSGD), learner_of(MetaSGD)
    fit(saved, 2, path)
    fit(restored, 2, path)
    support, (x, _) = IMAGES(5).support, IMAGES(5).query
    outputs = [learner.adapt(support).predict(x, verbose=0) for learner in (saved, restored)]
    np.testing.assert_array_equal(*outputs)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "state"
    learner = learner_of(Reptile, model=dense_net())
    learner.fit(sampler(), meta_steps=1, checkpoint=str(path), verbose=0)
    return path.read_bytes()


@pytest.mark.slow
@settings(max_examples=25)
@given(data=st.data())
def test_a_damaged_checkpoint_is_a_clear_error_and_changes_nothing(
    data, checkpoint, tmp_path_factory
):
    place = data.draw(st.integers(0, len(checkpoint) - 1))
    cut = data.draw(st.booleans())
    damaged = bytearray(checkpoint)
    damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "state"
    path.write_bytes(checkpoint[:place] if cut else damaged)
    learner = learner_of(Reptile, model=dense_net())
    before = everything(learner)
    try:
        learner.fit(sampler(), meta_steps=1, checkpoint=str(path), verbose=0)
    except CorruptFileError as error:
        assert "state" in str(error)
        check_equal(before, everything(learner))
    else:  # a byte of the archive that means nothing, such as a time stamp
        assert not cut and learner.meta_step == 1


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="Delete it to start anew"):
        fit(learner_of(), 2, str(path))
    assert path.read_bytes() == content


FOREIGN = {
    "another learner": lambda: learner_of(MAML, model=dense_net()),
    "another optimizer": lambda: learner_of(Reptile, model=dense_net(), optimizer="sgd"),
    "another model": lambda: learner_of(Reptile),
    "a policy": lambda: learner_of(Reptile, SPARSE_INT8, model=dense_net()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_something_else_is_refused(kind, checkpoint, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(checkpoint)
    learner = FOREIGN[kind]()
    before = everything(learner)
    tasks = IMAGES if learner.model.input_shape[1:] == IMAGE else sampler()
    with pytest.raises(CorruptFileError, match="same kind of learner.*Name another file"):
        learner.fit(tasks, meta_steps=2, checkpoint=str(path), verbose=0)
    check_equal(before, everything(learner))
    assert learner.meta_step == 0


SCRIPT = """
import sys, time
import keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from tests.meta.learners.problems import SPARSE_INT8, dense_net, everything, sampler
from tf_metacompress.meta import MAML

path, result, slowly = sys.argv[1], sys.argv[2], sys.argv[3] == "slowly"

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if slowly:
            print("step", self.model.optimizer.iterations.numpy(), flush=True)
            time.sleep(0.2)

learner = MAML(dense_net(), inner_lr=0.1, policy=SPARSE_INT8).compile("adam", meta_batch_size=2)
learner.fit(sampler(), meta_steps=30, steps_per_epoch=3, verbose=0, callbacks=[Slow()],
            checkpoint=None if path == "none" else path)
np.savez(result, *everything(learner))
"""


def start(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_an_epoch_goes_on_bit_for_bit(tmp_path):
    path = tmp_path / "state"
    with start(path, tmp_path / "never.npz", "slowly") as killed:
        for line in killed.stdout:
            if line.split() == ["step", "8"]:  # the second of three in its epoch
                break
        os.kill(killed.pid, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL and path.exists()
    assert not Path(tmp_path / "never.npz").exists()
    before = path.stat().st_mtime
    with start(path, tmp_path / "resumed.npz", "fast") as resumed:
        assert resumed.wait(300) == 0
    with start("none", tmp_path / "whole.npz", "fast") as whole:
        assert whole.wait(300) == 0
    assert path.stat().st_mtime > before
    with np.load(tmp_path / "whole.npz") as a, np.load(tmp_path / "resumed.npz") as b:
        assert a.files == b.files and len(a.files) > 8
        check_equal([a[name] for name in a.files], [b[name] for name in b.files])
