"""Models, budgets, devices and data that nothing can be made of; and what is at the edge."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.meta.problems import budget_between, extremes, table_for
from tests.small_models import conv_net, dense_net, randomize
from tf_metacompress.anatomy import describe
from tf_metacompress.errors import (
    InfeasibleBudgetError,
    InvalidArgumentError,
    NonFiniteLossError,
    UnsupportedModelError,
)
from tf_metacompress.meta import InnerLoop, MetaCompressor, MetaState
from tf_metacompress.meta.adaptation import descend_on_support
from tf_metacompress.meta.outer_loop import meta_step
from tf_metacompress.meta.outer_optimizer import OuterOptimizer
from tf_metacompress.policy import Budget, DeviceProfile, action_grid, fitting_sparsity
from tf_metacompress.tasks import Task

layers = keras.layers
FEW_ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))
FEW = {"hidden": (4,), "num_heads": 2, "actions": FEW_ACTIONS}


def task_of(model, x=None, y=None, **options):
    x = np.random.default_rng(0).normal(size=(24, 12)).astype("float32") if x is None else x
    y = np.arange(len(x)) % 3 if y is None else y
    return Task(model, budget_between(model, 0.4, FEW_ACTIONS), support=(x, y), **options)


def test_a_model_of_one_layer_is_compressed():
    model = randomize(keras.Sequential([keras.Input((12,)), layers.Dense(40, name="only")]))
    budget = budget_between(model, 0.3, FEW_ACTIONS)
    compressor = MetaCompressor(**FEW)
    policy = compressor.propose(model, budget)
    assert len(policy.rules) == 1
    explanation = compressor.explain(model, policy)
    assert len(explanation.layers) == 1 and explanation.cost <= explanation.limit


def test_a_model_without_kernels_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.ReLU()])
    with pytest.raises(UnsupportedModelError, match=r"nothing to compress.*BatchNormalization"):
        MetaCompressor(**FEW).propose(model, Budget(size_ratio=0.5))


def test_a_device_that_runs_no_action_of_a_layer_is_refused():
    device = DeviceProfile(name="float-dense", weight_bits={"*": (4, 8), "Dense": (32,)})
    with pytest.raises(InvalidArgumentError) as raised:
        MetaCompressor(**FEW).propose(conv_net(), Budget(size_ratio=0.9), device)
    message = str(raised.value)
    assert "'float-dense'" in message and "['head']" in message
    assert "device_bits=[32]" in message and "action_bits=[4, 8]" in message


@pytest.mark.parametrize("ratio", [1.01, 0.0, -0.5, float("nan")])
def test_ratios_outside_their_range_are_refused(ratio):
    with pytest.raises(InvalidArgumentError, match="size_ratio"):
        Budget(size_ratio=ratio)


def test_a_budget_below_the_floor_says_the_floor():
    model = randomize(dense_net())
    least, _ = extremes(table_for(model, FEW_ACTIONS))
    compressor = MetaCompressor(**FEW)
    with pytest.raises(InfeasibleBudgetError, match="smallest size_bytes") as raised:
        compressor.propose(model, Budget(size_bytes=0.99 * least))
    assert raised.value.smallest["size_bytes"] == pytest.approx(least)


@pytest.mark.parametrize("shape", [(24, 11), (24, 12, 1), (24,)])
def test_support_of_another_shape_is_refused(shape):
    compressor = MetaCompressor(**FEW)
    with pytest.raises(InvalidArgumentError, match=r"inputs=\(24.*model_takes=\(None, 12\)"):
        compressor.adapt(task_of(dense_net(), np.zeros(shape, "float32")))


def no_number(y, predictions):
    return keras.ops.mean(keras.ops.log(predictions - 2.0))


def test_a_support_loss_that_is_not_finite_is_refused():
    task = task_of(randomize(dense_net()), loss=no_number)
    with pytest.raises(InvalidArgumentError, match=r"support set must be finite.*loss=nan"):
        MetaCompressor(**FEW).adapt(task)


@dataclass
class Diverging:
    """A task whose loss falls without end, ever steeper."""

    theta: tuple = (tf.constant([1.0]),)

    def inner_support(self):
        return tf.zeros([2, 1]), tf.zeros([2])

    def loss(self, groups, x, y):
        return -tf.exp(tf.reduce_sum(groups[0][0]) + tf.reduce_sum(groups[1][0]))


def test_a_loss_that_diverges_on_the_way_is_refused():
    loop = InnerLoop(inner_lr=(1.0, 300.0), clip_norm=10.0)
    with pytest.raises(NonFiniteLossError, match="at inner step 1. Lower inner_lr") as raised:
        descend_on_support(Diverging(), loop, (tf.constant([0.0]),), 4)
    assert raised.value.meta_step == 1


@pytest.mark.parametrize("losses", [(np.nan, 1.0), (1.0, np.inf)])
def test_a_meta_step_with_a_loss_that_is_not_finite_is_refused(losses):
    phi = (tf.constant([1.0, 1.0]),)
    optimizer = OuterOptimizer(keras.optimizers.SGD(0.1), phi)
    fine, wrong = (
        lambda phi, values=values: ([tf.ones([2])], *map(tf.constant, values))
        for values in ((1.0, 1.0), losses)
    )
    state = MetaState(phi, optimizer.init(), meta_step=3)
    with pytest.raises(NonFiniteLossError) as raised:
        meta_step(state, optimizer, [fine, wrong], clip_norm=1.0)
    assert (raised.value.meta_step, raised.value.task) == (3, 1)
    np.testing.assert_array_equal(state.phi[0], [1.0, 1.0])


def stack_of_dense_layers(features, widths, scales, seed):
    model = keras.Sequential([keras.Input((features,)), *map(layers.Dense, widths)])
    generator = np.random.default_rng(seed)
    for layer, scale in zip(model.layers, scales, strict=False):
        layer.kernel.assign(scale * generator.standard_t(3, layer.kernel.shape))
    return model


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 16),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.lists(st.sampled_from([0.0, 1e-6, 1.0, 1e4]), min_size=4, max_size=4),
    st.floats(0.0, 1.1),
    st.sampled_from(["android-arm64", "cortex-m", "x86-host"]),
    st.integers(0, 100),
)
def test_a_proposal_is_never_outside_the_budget(features, widths, scales, share, device, seed):
    model = stack_of_dense_layers(features, widths, scales, seed)
    table = table_for(model, FEW_ACTIONS, device)
    least, most = extremes(table)
    budget = Budget(size_bytes=float(np.ceil(least + share * (most - least))))
    compressor = MetaCompressor(**FEW)
    generator = np.random.default_rng(seed)
    compressor.phi = tuple(w + generator.normal(0, 2, w.shape) for w in compressor.phi)
    plans = compressor.propose(model, budget, device).resolve(describe(model))
    spent = table.fixed[0]
    for row, (info, plan) in enumerate(zip(describe(model), plans, strict=True)):
        carried_out = [(fitting_sparsity(info, a.sparsity), a.weight_bits) for a in FEW_ACTIONS]
        same = [i for i, one in enumerate(carried_out) if one == (plan.sparsity, plan.weight_bits)]
        assert table.mask[row, same].all()
        spent += table.cost[row, same, 0].min()
    assert spent <= budget.size_bytes * (1 + 1e-9)
