"""What meta-learners refuse, and that they do so before any work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.meta.learners.problems import (
    FEATURES,
    SPARSE_INT8,
    WAYS,
    class_source,
    dense_net,
    everything,
    sampler,
)
from tests.small_models import shared_net, subclassed_net
from tf_metacompress import compress
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    SecondOrderGradientError,
    UnsupportedModelError,
)
from tf_metacompress.meta import ANIL, MAML, MAMLOptions, MetaCurvature, MetaSGD, Reptile
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.tasks import FewShotTask, NWayKShot

layers = keras.layers
TASKS = sampler()
X, Y = TASKS(0).support


def frozen_net():
    model = dense_net()
    model.trainable = False
    return model


class IntegerWeights(layers.Layer):
    def build(self, input_shape):
        self.table = self.add_weight(shape=(FEATURES,), dtype="int32", name="table")

    def call(self, inputs):
        return inputs + tf.cast(tf.convert_to_tensor(self.table), inputs.dtype)


def normalised_by_layer():
    return keras.Sequential([keras.Input((FEATURES,)), layers.LayerNormalization()])


ARGUMENTS = {
    "inner_steps=0": ({"inner_steps": 0}, "inner_steps"),
    "inner_steps=1.5": ({"inner_steps": 1.5}, "inner_steps"),
    "inner_steps=True": ({"inner_steps": True}, "inner_steps"),
    "inner_lr=0": ({"inner_lr": 0.0}, "inner_lr"),
    "inner_lr=nan": ({"inner_lr": float("nan")}, "inner_lr"),
    "inner_lr='fast'": ({"inner_lr": "fast"}, "inner_lr"),
    "batch_norm": ({"batch_norm": "train"}, "batch_norm.*support"),
    "policy type": ({"policy": {"*": 8}}, "policy"),
    "policy of no layer": ({"policy": Policy([Rule("conv*", sparsity=0.5)])}, "conv"),
    "options": ({"options": {"learn_inner_lr": True}}, "MAMLOptions"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bad_arguments_are_refused(kind):
    arguments, match = ARGUMENTS[kind]
    with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=match):
        MAML(dense_net(), **arguments)


MODELS = {
    "no model": (lambda: "resnet", ArgumentTypeError, "Keras 3 model"),
    "nothing to train": (frozen_net, UnsupportedModelError, "no trainable weights.*trainable"),
    "integer weights": (
        lambda: keras.Sequential([keras.Input((FEATURES,)), IntegerWeights()]),
        UnsupportedModelError,
        "floating",
    ),
    "not built": (
        lambda: keras.Sequential([layers.Dense(2)]),
        InvalidArgumentError,
        "built.*keras.Input",
    ),
    "two inputs": (shared_net, UnsupportedModelError, "one input"),
    "compressed": (
        lambda: compress(dense_net(), SPARSE_INT8),
        UnsupportedModelError,
        "plain",
    ),
}


@pytest.mark.parametrize("learner", [MAML, ANIL, Reptile])
@pytest.mark.parametrize("kind", MODELS)
def test_bad_models_are_refused(kind, learner):
    make, error, match = MODELS[kind]
    with pytest.raises(error, match=match):
        learner(make())


def test_wrong_second_derivatives_are_refused_by_name_and_first_order_is_not():
    with pytest.raises(SecondOrderGradientError, match="layer_normalization"):
        MAML(normalised_by_layer())
    Reptile(normalised_by_layer())


@pytest.mark.parametrize("score", ["taylor", "activation"])
def test_scores_that_need_more_than_weights_are_refused(score):
    policy = Policy([Rule("hidden", sparsity=0.5, score=score)])
    with pytest.raises(InvalidArgumentError, match="magnitude"):
        MAML(dense_net(), policy=policy)


def test_options_are_checked():
    for name, value in {
        "multi_step_loss_until": -1,
        "first_order_until": 0.5,
        "inner_clip_norm": 0.0,
    }.items():
        with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=name):
            MAMLOptions(**{name: value})
    rates = MAMLOptions(learn_inner_lr=True)
    for learner in (MetaSGD, MetaCurvature):
        with pytest.raises(InvalidArgumentError, match="learn_inner_lr"):
            learner(dense_net(), options=rates)


def test_a_head_that_is_not_there_is_refused_with_the_one_that_was_meant():
    with pytest.raises(InvalidArgumentError, match="head"):
        ANIL(dense_net(), head="heads")
    with pytest.raises(InvalidArgumentError, match="inner_batch_size"):
        Reptile(dense_net(), inner_batch_size=0)


@pytest.mark.parametrize("name", ["meta_batch_size", "tasks_at_once"])
def test_compile_checks_its_numbers(name):
    for value in (0, -1, 2.5):
        with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=name):
            MAML(dense_net()).compile("sgd", **{name: value})


def task_of(x=X, y=Y, shift=100.0):
    return FewShotTask(support=(x, y), query=(x + np.asarray(shift, x.dtype), y))


SAMPLERS = {
    "not callable": (7, "`{}` must give"),
    "junk": (lambda index: (X, Y), "FewShotTask"),
    "none": (lambda index: None, "FewShotTask"),
    "another width": (lambda index: task_of(X[:, :2]), "input shape"),
    "another rank": (lambda index: task_of(X[..., None]), "input shape"),
    "labels outside the head": (lambda index: task_of(y=Y + 1), "below the model's outputs"),
    "columns of labels": (lambda index: task_of(y=Y[:, None] + 1), "below the model's outputs"),
}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_bad_samplers_are_refused_before_any_work(kind, tmp_path):
    bad, match = SAMPLERS[kind]
    learner = MAML(dense_net()).compile("sgd")
    before = everything(learner)
    errors = (InvalidArgumentError, ArgumentTypeError)
    started = []
    watch = keras.callbacks.LambdaCallback(on_train_begin=started.append)
    for act, name in (
        (lambda: learner.fit(bad, meta_steps=1, verbose=0, callbacks=[watch]), "sampler"),
        (
            lambda: learner.fit(TASKS, meta_steps=1, validation=bad, verbose=0, callbacks=[watch]),
            "validation",
        ),
        (lambda: learner.evaluate(bad, num_tasks=2), "sampler"),
        (lambda: learner.calibrate(bad), "sampler"),
    ):
        with pytest.raises(errors, match=match.format(name)):
            act()
    assert not started and learner.meta_step == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, everything(learner), strict=True))


def test_labels_outside_the_head_of_a_subclassed_model_are_refused():
    learner = MAML(subclassed_net()).compile("sgd")
    x = np.zeros((2, 8, 8, 1), "float32")
    with pytest.raises(InvalidArgumentError, match="below the model's outputs"):
        learner.adapt((x, np.array([0, 3])))


SUPPORTS = {
    "no pair": X,
    "three": (X, Y, Y),
    "a number": 3,
    "unlike lengths": (X, Y[:-1]),
    "empty": (X[:0], Y[:0]),
    "not finite": (X * np.nan, Y),
    "words": (X, np.array(["a"] * len(X))),
    "negative labels": (X, Y - 5),
    "labels outside the head": (X, Y + WAYS),
    "wrong shape": (X[:, :2], Y),
}


@pytest.mark.parametrize("kind", SUPPORTS)
def test_bad_supports_are_refused(kind):
    with pytest.raises((InvalidArgumentError, ArgumentTypeError), match="support"):
        MAML(dense_net()).adapt(SUPPORTS[kind])


def test_tasks_of_unlike_shapes_in_a_batch_are_refused():
    def uneven(index):
        return sampler(shots=1 + index % 2)(index)

    with pytest.raises(InvalidArgumentError, match="Task 1 must have the shapes"):
        MAML(dense_net()).fit(uneven, meta_steps=1, verbose=0)


def test_tasks_cannot_be_drawn_from_too_little():
    with pytest.raises(InvalidArgumentError, match="num_ways"):
        NWayKShot(class_source(classes=2), 3, 1, 1)
    with pytest.raises(InvalidArgumentError, match="num_shots"):
        NWayKShot(class_source(examples=3), 3, 2, 2)
    with pytest.raises(InvalidArgumentError, match="share an example"):
        FewShotTask(support=(X, Y), query=(X, Y))


@pytest.mark.parametrize("name", ["meta_steps", "steps_per_epoch"])
@pytest.mark.parametrize("value", [0, -3, 1.5])
def test_fit_checks_its_numbers(name, value):
    arguments = {"meta_steps": 1, name: value}
    with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=name):
        MAML(dense_net()).fit(TASKS, verbose=0, **arguments)


def test_a_checkpoint_that_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    started = []
    watch = keras.callbacks.LambdaCallback(on_train_begin=started.append)
    learner = MAML(dense_net())
    for path in (tmp_path / "file" / "state", tmp_path, 3):
        with pytest.raises((InvalidArgumentError, ArgumentTypeError), match="path"):
            learner.fit(TASKS, meta_steps=1, checkpoint=path, verbose=0, callbacks=[watch])
    assert not started


@pytest.mark.parametrize("steps", [0, 1.5, "two"])
def test_adaptation_and_evaluation_check_their_steps(steps):
    learner = MAML(dense_net())
    for act in (
        lambda: learner.adapt((X, Y), inner_steps=steps),
        lambda: learner.evaluate(TASKS, num_tasks=2, inner_steps=steps),
    ):
        with pytest.raises((InvalidArgumentError, ArgumentTypeError), match="inner_steps"):
            act()
    with pytest.raises(InvalidArgumentError, match="num_tasks"):
        learner.evaluate(TASKS, num_tasks=1)
    with pytest.raises(InvalidArgumentError, match="num_tasks"):
        learner.calibrate(TASKS, num_tasks=0)
