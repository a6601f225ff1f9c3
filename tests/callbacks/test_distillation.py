"""A teacher inside a plain `fit`."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from tests.small_models import dense_net, randomize
from tests.test_distillation import expected
from tf_metacompress import compress
from tf_metacompress.anatomy import classification_loss
from tf_metacompress.callbacks import Distillation, MetaCompress
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Policy, Rule

POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8)])
X = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
Y = np.arange(8) % 3


def logits_net(classes=3, seed=0, penalty=None):
    parts = [keras.Input((12,)), keras.layers.Dense(classes, kernel_regularizer=penalty)]
    return randomize(keras.Sequential(parts, name="logits"), seed)


def compiled(model, rate=0.0):
    loss = classification_loss(getattr(model, "network", model))
    model.compile(keras.optimizers.SGD(rate), loss, jit_compile=False)
    return model


def loss_of(model, *callbacks, **options):
    history = model.fit(X, Y, batch_size=8, verbose=0, callbacks=list(callbacks), **options)
    return history.history["loss"][0]


def test_the_loss_is_the_weighted_sum_and_penalties_stay_whole():
    model, teacher = compiled(logits_net(penalty="l2")), randomize(dense_net(), 1)
    taught = expected(np.log(teacher(X)), model(X).numpy(), 2.0).mean()
    own = -log_softmax(model(X).numpy(), axis=-1)[np.arange(8), Y].mean()
    penalty = 0.01 * np.square(model.layers[0].kernel.numpy()).sum()
    found = loss_of(model, Distillation(teacher, temperature=2.0, alpha=0.7))
    assert found == pytest.approx(0.3 * own + 0.7 * taught + penalty, rel=1e-5)


def test_sample_weights_count():
    model, teacher, weights = compiled(logits_net()), logits_net(seed=1), np.linspace(0, 1, 8)
    each = expected(teacher(X).numpy(), model(X).numpy(), 4.0)
    found = loss_of(model, Distillation(teacher, alpha=1.0), sample_weight=weights)
    assert found == pytest.approx((weights * each).mean(), rel=1e-5)


def test_validation_and_what_comes_after_use_the_own_loss_and_the_teacher_stays_as_it_is():
    model, teacher = compiled(logits_net(seed=2)), logits_net(seed=1)
    before = [weight.numpy() for weight in teacher.weights]
    own = -log_softmax(model(X).numpy(), axis=-1)[np.arange(8), Y].mean()
    taught = Distillation(teacher, alpha=1.0)
    history = model.fit(X, Y, validation_data=(X, Y), verbose=0, callbacks=[taught]).history
    assert history["val_loss"][0] == pytest.approx(own, rel=1e-5)
    assert history["loss"][0] != pytest.approx(own, rel=1e-2)
    assert loss_of(model) == pytest.approx(own, rel=1e-5)
    for weight, value in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.slow
@pytest.mark.parametrize("teacher_first", [True, False])
def test_a_model_that_is_being_compressed_learns_from_its_float_self(teacher_first):
    model, teacher = compiled(randomize(dense_net()), rate=0.05), randomize(dense_net())
    callbacks = [Distillation(teacher, alpha=1.0), MetaCompress(policy=POLICY)]
    history = model.fit(
        X, Y, epochs=30, verbose=0, callbacks=callbacks if teacher_first else callbacks[::-1]
    ).history["loss"]
    assert history[-1] < 0.5 * max(history)
    assert np.mean(model.layers[0].kernel.numpy() == 0.0) == 0.5


@pytest.mark.slow
def test_a_student_of_compress_learns_too():
    student, teacher = compress(randomize(dense_net()), POLICY), randomize(dense_net(), 1)
    taught = expected(*(np.log(model(X)) for model in (teacher, student)), 4.0).mean()
    found = loss_of(compiled(student), Distillation(teacher, alpha=1.0))
    assert found == pytest.approx(taught, rel=0.02)  # ranges of activations are set on the way


def test_what_cannot_be_is_refused():
    model = compiled(logits_net())
    with pytest.raises(ArgumentTypeError, match="teacher"):
        Distillation("teacher.keras")
    with pytest.raises(InvalidArgumentError, match="alpha"):
        Distillation(logits_net(), alpha=1.5)
    with pytest.raises(InvalidArgumentError, match="temperature"):
        Distillation(logits_net(), temperature=0.0)
    with pytest.raises(InvalidArgumentError, match="share weights"):
        loss_of(model, Distillation(model))
    with pytest.raises(InvalidArgumentError, match="same classes"):
        loss_of(model, Distillation(logits_net(classes=4)))
