"""The model with relaxed kernels: at a sure choice it is exactly the compressed one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.meta.problems import budget_between
from tests.small_models import conv_net, images, randomize, shared_net, subclassed_net
from tests.wrappers.test_layer_compressor import numpy_compressed
from tf_metacompress import compress
from tf_metacompress.compression import copy_model
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.meta.kernel_row import KernelRow, KernelSlot, kernel_slots
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.meta.relaxed_model import (
    index_actions,
    mask_places,
    mix_kernels,
    soft_masks,
    weight_levels,
)
from tf_metacompress.meta.task_loss import RelaxedLoss, task_tensors
from tf_metacompress.policy import Action, Budget, LayerPlan, Policy, action_grid
from tf_metacompress.tasks import Task

layers = keras.layers
ACTIONS = (
    Action(0.5, 8), Action(0.0, 4), Action(0.9, 32), Action(0.0, 8), Action(0.75, 4),
    Action(0.25, 16), Action(0.99, 8),
)  # fmt: skip
INDEX = index_actions(ACTIONS)


def mixed(kernel, probabilities, gain=1.0):
    return relaxed(tf.constant(kernel), tf.constant(probabilities), gain).numpy()


def relaxed(kernel, probabilities, gain):
    """Relaxes a kernel that stands behind another one, which keeps a choice of its own."""
    slots = [
        KernelSlot(row=0, index=1, trainable=True, channel_axis=(1,), shape=(4, 6)),
        KernelSlot(row=1, index=0, trainable=True, channel_axis=(3,), shape=tuple(kernel.shape)),
    ]
    row, other = KernelRow(slots), np.linspace(-3, 3, 24, dtype="float32").reshape(4, 6)
    deployed = [other, kernel.numpy() * gain]
    places = tf.constant(mask_places(deployed, row.layer_of.numpy(), INDEX))
    masks = soft_masks(tf.stack([tf.one_hot(3, len(ACTIONS)), probabilities]), places, INDEX)
    weights = [kernel, tf.constant(other)], []
    kept, found = row.split(mix_kernels(row.join(weights), masks, INDEX, row))
    np.testing.assert_allclose(kept, numpy_compressed(other, 0.0, 8, (1,)), rtol=1e-6)
    return found


def hard(kernel, action, gain=1.0):
    if action.weight_bits == 16:
        return numpy_compressed(kernel, action.sparsity, 32, (3,), gain).astype(np.float16)
    return numpy_compressed(kernel, action.sparsity, action.weight_bits, (3,), gain)


def kernel_and_gain(seed, ties=False):
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(3, 3, 2, 5)).astype("float32")
    if ties:
        kernel = np.round(kernel * 2) / 2
    return kernel, generator.uniform(0.1, 4.0, (1, 1, 1, 5)).astype("float32")


@pytest.mark.parametrize("chosen", range(len(ACTIONS)))
def test_a_sure_choice_gives_the_hard_kernel(chosen):
    kernel, gain = kernel_and_gain(chosen)
    got = mixed(kernel, np.eye(len(ACTIONS), dtype="float32")[chosen], gain)
    np.testing.assert_allclose(got, hard(kernel, ACTIONS[chosen], gain), rtol=1e-5, atol=1e-7)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.booleans())
def test_a_mixture_is_the_weighted_sum_of_hard_kernels(seed, ties):
    kernel, gain = kernel_and_gain(seed, ties)
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(ACTIONS))).astype("float32")
    expected = sum(
        p * hard(kernel, action, gain) for p, action in zip(probabilities, ACTIONS, strict=True)
    )
    np.testing.assert_allclose(mixed(kernel, probabilities, gain), expected, rtol=1e-4, atol=1e-6)


def test_levels_count_the_sparsities_that_keep_a_weight():
    index = index_actions([Action(0.5, 8), Action(0.0, 8), Action(0.75, 8), Action(0.25, 4)])
    assert index.bits == (4, 8)
    assert index.order == ((3,), (1, 0, 2))
    levels = weight_levels(np.array([1.0, -4.0, 3.0, 2.0]), index)
    assert levels.tolist() == [[-1, 0, 0, 0], [0, 2, 1, 0]]


@pytest.mark.parametrize("make", [conv_net, subclassed_net, shared_net])
def test_slots_point_at_the_kernels(make):
    model = make()
    model.layers[1].trainable = False
    problem = make_problem(model, Budget(size_ratio=1.0))
    slots = kernel_slots(model, problem.infos)
    variables = {True: model.trainable_variables, False: model.non_trainable_variables}
    found = [variables[slot.trainable][slot.index] for slot in slots]
    assert [tuple(v.shape) for v in found] == [k.shape for i in problem.infos for k in i.kernels]
    assert len({id(variable) for variable in found}) == len(found)
    assert [slot.channel_axis for slot in slots] == [
        kernel.channel_axis for info in problem.infos for kernel in info.kernels
    ]


@pytest.mark.parametrize("make", [conv_net, subclassed_net])
def test_the_relaxed_model_at_a_sure_choice_is_the_student(make):
    model = make()
    problem = make_problem(model, budget_between(model, 0.3, DEFAULT_ACTIONS))
    choice = problem.allocate(problem.prior).choice
    index = index_actions(problem.table.actions)
    row = KernelRow(kernel_slots(model, problem.infos))
    loss = RelaxedLoss(model, row, index, lambda _, predictions: predictions, 0.05)
    tensors = task_tensors(model, problem, loss)
    theta = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    masks = loss.masks(tf.one_hot(choice, len(problem.table.actions)), tensors)
    x, _ = images(6)
    got = loss.after_training(masks, (theta, tensors.others), x, None)
    actions = [problem.table.actions[i] for i in choice]
    plans = [
        LayerPlan(i.name, sparsity=a.sparsity, weight_bits=a.weight_bits, activation_bits=32)
        for i, a in zip(problem.infos, actions, strict=True)
    ]
    student = compress(model, Policy.from_plans(plans))
    np.testing.assert_allclose(got, student(x), atol=2e-5)
    assert np.abs(got - model(x)).max() > 1e-3


def test_a_sharp_choice_gives_the_loss_of_the_student():
    model = conv_net()
    x, y = images(12)
    budget = budget_between(model, 0.3, ACTIONS_OF_ONE_WIDTH)
    task = Task(model, budget, support=(x, y))
    prepared = TaskCompiler(ACTIONS_OF_ONE_WIDTH, 1e-4, InnerLoop()).prepare(task)
    phi = MetaCompressor(actions=ACTIONS_OF_ONE_WIDTH).phi
    choice = prepared.relaxed.choice(phi, prepared.tensors).numpy()
    loss = float(prepared.loss((phi, prepared.theta), tf.constant(x), tf.constant(y)))
    plans = [
        LayerPlan(i.name, sparsity=ACTIONS_OF_ONE_WIDTH[a].sparsity, weight_bits=8,
                  activation_bits=32)
        for i, a in zip(prepared.problem.infos, choice.argmax(1), strict=True)
    ]  # fmt: skip
    predictions = compress(model, Policy.from_plans(plans))(x).numpy()
    expected = -np.log(predictions[np.arange(12), y]).mean()
    undecided = np.sum(choice.max(1) < 0.99)
    assert undecided <= 1
    assert loss == pytest.approx(expected, rel=0.02 if not undecided else 0.5)


ACTIONS_OF_ONE_WIDTH = action_grid((0.0, 0.3, 0.6, 0.9), (8,))


def test_gradients_reach_kernel_and_choice_twice():
    kernel, gain = kernel_and_gain(0)
    x, p = tf.constant(kernel), tf.fill([len(ACTIONS)], 1.0 / len(ACTIONS))
    with tf.GradientTape() as outer:
        outer.watch([x, p])
        with tf.GradientTape() as inner:
            inner.watch([x, p])
            y = tf.reduce_sum(relaxed(x, p, gain) ** 3)
        first = [tf.convert_to_tensor(g) for g in inner.gradient(y, [x, p])]
        total = tf.reduce_sum(first[0]) + tf.reduce_sum(first[1])
    second = [tf.convert_to_tensor(g) for g in outer.gradient(total, [x, p])]
    assert all(np.isfinite(g).all() and np.abs(g).max() > 1e-3 for g in (*first, *second))
    # d/dp_a of the mixture is the hard kernel of action a.
    m = mixed(kernel, p.numpy(), gain)
    expected = [np.sum(3 * m**2 * hard(kernel, action, gain)) for action in ACTIONS]
    np.testing.assert_allclose(first[1], expected, rtol=1e-4, atol=1e-4)


def test_models_of_one_architecture_differ_only_in_tensors():
    first = conv_net()
    second = randomize(copy_model(first), seed=5)
    x, y = images(8)
    compiler = TaskCompiler(DEFAULT_ACTIONS, 0.05, InnerLoop())
    prepared = [
        compiler.prepare(Task(m, Budget(size_ratio=0.95), support=(x, y))) for m in (first, second)
    ]
    assert prepared[0].step is prepared[1].step
    phi = MetaCompressor().phi
    crossed = prepared[0].relaxed((phi, prepared[1].theta), prepared[1].tensors, x, y)
    own = prepared[1].loss((phi, prepared[1].theta), x, y)
    assert float(crossed) == pytest.approx(float(own))
