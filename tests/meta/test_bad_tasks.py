"""Models, budgets, devices and data that nothing can be made of; and what is at the edge."""

import re
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.meta.problems import budget_between, extremes, table_for
from tests.random_architectures import random_architecture
from tests.small_models import conv_net, dense_net, randomize
from tf_metacompress.anatomy import compressible_layers, describe, kernel_arrays
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    NonFiniteLossError,
    UnsupportedModelError,
)
from tf_metacompress.meta import InnerLoop, MetaCompressor, MetaState
from tf_metacompress.meta.adaptation import descend_on_support
from tf_metacompress.meta.outer_loop import meta_step
from tf_metacompress.meta.outer_optimizer import OuterOptimizer
from tf_metacompress.policy import (
    Budget,
    DeviceProfile,
    action_grid,
    cost_table,
    fitting_sparsity,
)
from tf_metacompress.policy import device as find_device
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
    message = str(raised.value)
    told = re.search(r"Allow at least ([\d,]+)\..*size_ratio=([\d.]+)\.", message).groups()
    amount, share = (float(word.replace(",", "")) for word in told)
    for budget in (Budget(size_bytes=amount), Budget(size_ratio=share)):
        compressor.propose(model, budget)


def test_multiply_accumulates_that_no_zero_saves_are_told():
    model, pays = randomize(dense_net()), {"macs": True}
    compressor, budget = MetaCompressor(**FEW), Budget(macs_ratio=0.5)
    with pytest.raises(InfeasibleBudgetError, match=r"macs_ratio=1\. Zeros save no multiply"):
        compressor.propose(model, budget)
    device = DeviceProfile(name="skips", weight_bits={"*": (4, 8)}, sparsity_pays=pays)
    compressor.propose(model, budget, device)
    with pytest.raises(InfeasibleBudgetError) as raised:
        compressor.propose(model, Budget(macs_ratio=0.01), device)
    assert "Zeros save" not in str(raised.value)


@pytest.mark.parametrize("shape", [(24, 11), (24, 12, 1), (24,)])
def test_support_of_another_shape_is_refused(shape):
    compressor = MetaCompressor(**FEW)
    with pytest.raises(InvalidArgumentError, match=r"inputs=\(24.*model_takes=\(None, 12\)"):
        compressor.adapt(task_of(dense_net(), np.zeros(shape, "float32")))


def two_ended(inputs, outputs):
    given = [keras.Input((12,)) for _ in range(inputs)]
    joined = layers.Add()(given) if inputs > 1 else given[0]
    hidden = layers.Dense(40)(joined)
    return keras.Model(given, [layers.Dense(3)(hidden) for _ in range(outputs)])


@pytest.mark.parametrize("ends", [(2, 1), (1, 2)])
def test_examples_for_several_inputs_or_outputs_are_refused(ends):
    model, compressor = randomize(two_ended(*ends)), MetaCompressor(**FEW)
    task = task_of(model)
    message = rf"one input and one output.*inputs={ends[0]}, outputs={ends[1]}"
    with pytest.raises(InvalidArgumentError, match=message):
        compressor.adapt(task)
    with pytest.raises(InvalidArgumentError, match=message):
        compressor.propose(model, task.budget, support=task.support)
    assert compressor.propose(model, task.budget).rules


def test_a_loss_that_keras_does_not_know_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"name that Keras knows.*loss='crossentropi'"):
        MetaCompressor(**FEW).adapt(task_of(dense_net(), loss="crossentropi"))


def test_one_example_cannot_be_tried_and_judged_on():
    x = np.zeros((1, 12), "float32")
    with pytest.raises(InvalidArgumentError, match=r"two support examples.*support_examples=1"):
        MetaCompressor(**FEW).adapt(task_of(dense_net(), x))


def test_a_model_in_the_place_of_a_task_is_refused():
    with pytest.raises(ArgumentTypeError, match="`task` must be a Task"):
        MetaCompressor(**FEW).adapt(dense_net())


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


EVERYTHING_PAYS = DeviceProfile(
    name="skips-zeros",
    weight_bits={"*": (4, 8), "DepthwiseConv2D": (8,)},
    sparsity_pays={"size_bytes": True, "flash_bytes": True, "macs": True},
)


def spent_by(policy, model, table):
    """What a policy costs in each resource, by the cheapest action that is carried out alike."""
    infos = compressible_layers(model)
    spent = table.fixed.copy()
    for row, (info, plan) in enumerate(zip(infos, policy.resolve(infos), strict=True)):
        same = [
            index
            for index, action in enumerate(table.actions)
            if table.mask[row, index]
            and action.weight_bits == plan.weight_bits
            and fitting_sparsity(info, action.sparsity) == plan.sparsity
        ]
        assert same, f"{info.name}: {plan} is no action of the device"
        spent += table.cost[row, same].min(axis=0)
    return spent


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_a_proposal_is_never_outside_one_of_several_budgets(data):
    model = random_architecture(data.draw)
    device = data.draw(st.sampled_from(["android-arm64", "cortex-m", EVERYTHING_PAYS]))
    kernels, infos = kernel_arrays(model), describe(model)
    resources = ("size_bytes", "flash_bytes", "macs")
    given_to = {"device": find_device(device), "actions": FEW_ACTIONS, "resources": resources}
    table = cost_table(infos, kernels, **given_to)
    cost, mask = table.cost, table.mask[:, :, None]
    least = np.where(mask, cost, np.inf).min(axis=1).sum(axis=0) + table.fixed
    most = np.where(mask, cost, -np.inf).max(axis=1).sum(axis=0) + table.fixed
    shares = np.array([data.draw(st.floats(0.0, 1.2)) for _ in resources])
    limits = np.ceil(least + shares * (most - least))
    budget = Budget(
        size_bytes=limits[0],
        flash_bytes=limits[1],
        macs_ratio=min(limits[2] / table.reference["macs"], 1.0),
    )
    compressor = MetaCompressor(**FEW)
    generator = np.random.default_rng(data.draw(st.integers(0, 100)))
    compressor.phi = tuple(w + generator.normal(0, 2, w.shape) for w in compressor.phi)
    try:
        policy = compressor.propose(model, budget, device)
    except InfeasibleBudgetError:
        assert (shares < 1.0).any()  # what each allows alone need not be found together
        return
    assert (spent_by(policy, model, table) <= limits * (1 + 1e-9)).all()
