"""`MetaCompressor`: proposals within the budget, adaptation, meta-training."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.meta.problems import budget_between, extremes, table_for
from tests.small_models import (
    conv_net,
    dense_net,
    fingerprint,
    images,
    nested_net,
    randomize,
    residual_net,
    subclassed_net,
)
from tf_metacompress import compress
from tf_metacompress.anatomy import describe
from tf_metacompress.compression import copy_model
from tf_metacompress.errors import (
    ArgumentTypeError,
    InfeasibleBudgetError,
    InvalidArgumentError,
    MetacompressError,
    SecondOrderGradientError,
    UnsupportedModelError,
)
from tf_metacompress.meta import InnerLoop, MetaCompressor
from tf_metacompress.meta.learner import TaskCompiler
from tf_metacompress.meta.problem import DEFAULT_ACTIONS, make_problem
from tf_metacompress.policy import (
    Action,
    Budget,
    Policy,
    action_grid,
    device,
    fitting_sparsity,
)
from tf_metacompress.tasks import Task

layers = keras.layers
FEW_ACTIONS = action_grid((0.0, 0.4, 0.7, 0.9), (4, 8))
FEW = {"hidden": (6,), "actions": FEW_ACTIONS}


def learned(noise_seed=0, stddev=0.5, **options):
    """A compressor whose Φ is not the prior any more."""
    compressor = MetaCompressor(**options)
    generator = np.random.default_rng(noise_seed)
    compressor.phi = tuple(
        weight + generator.normal(0, stddev, weight.shape).astype("float32")
        for weight in compressor.phi
    )
    return compressor


def actions_of(info, plan, actions):
    """Indices of the actions that are carried out as the plan says; small layers round them."""
    return [
        index
        for index, action in enumerate(actions)
        if action.weight_bits == plan.weight_bits
        and fitting_sparsity(info, action.sparsity) == plan.sparsity
    ]


def cost_of(model, policy, device_name="android-arm64", actions=DEFAULT_ACTIONS):
    table = table_for(model, actions, device_name)
    infos = [info for info in describe(model) if info.compressible]
    choice = []
    for row, (info, plan) in enumerate(zip(infos, policy.resolve(infos), strict=True)):
        alike = actions_of(info, plan, actions)
        assert table.mask[row, alike].all()
        choice.append(min(alike, key=lambda index: table.cost[row, index, 0]))
    return table.total(np.array(choice))["size_bytes"]


# propose


def test_untrained_it_proposes_what_the_prior_says():
    model = randomize(residual_net())
    budget = budget_between(model, 0.3, DEFAULT_ACTIONS)
    problem = make_problem(model, budget)
    damage = MetaCompressor().predict_damage(problem.features, problem.prior)
    np.testing.assert_allclose(damage, problem.prior, rtol=1e-12)
    policy = MetaCompressor().propose(model, budget)
    assert policy.rules == problem.policy(problem.prior, "it").rules
    assert policy.name == "phi" and policy.provenance["meta_steps"] == 0


def random_model(widths, seed):
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for width in widths[:-1]:
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(x)))
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Dense(widths[-1])(layers.Flatten()(x))
    return randomize(keras.Model(inputs, x), seed)


@pytest.mark.slow
@settings(max_examples=8)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.floats(0.0, 1.2),
    st.sampled_from(["android-arm64", "cortex-m", "x86-host"]),
    st.integers(0, 1000),
)
def test_a_proposal_never_exceeds_the_budget(widths, share, device_name, seed):
    model = random_model(widths, seed)
    least, most = extremes(table_for(model, DEFAULT_ACTIONS, device_name))
    budget = Budget(size_bytes=float(np.ceil(least + share * (most - least))))
    policy = learned(seed).propose(model, budget, device_name)
    assert cost_of(model, policy, device_name) <= budget.size_bytes * (1 + 1e-9)
    plans = policy.resolve(describe(model))
    for info, plan in zip((i for i in describe(model) if i.compressible), plans, strict=True):
        assert plan.weight_bits in device(device_name).bits(info.kind)


@pytest.mark.parametrize("make", [conv_net, nested_net, subclassed_net])
def test_proposing_only_reads_the_model(make):
    model, compressor = make(), learned()
    before, phi = fingerprint(model), [w.numpy() for w in compressor.phi]
    policy = compressor.propose(model, budget_between(model, 0.5, DEFAULT_ACTIONS))
    assert fingerprint(model) == before
    for one, other in zip(phi, compressor.phi, strict=True):
        np.testing.assert_array_equal(one, other)
    assert Policy.from_json(policy.to_json()) == policy
    compress(model, policy)


def test_a_tighter_budget_compresses_more():
    model = randomize(residual_net())
    infos = describe(model)
    policies = [
        MetaCompressor().propose(model, budget_between(model, share, DEFAULT_ACTIONS))
        for share in (0.6, 0.3, 0.05)
    ]
    bits_kept = [(1 - p.sparsity(infos)) * p.mean_weight_bits(infos) for p in policies]
    assert bits_kept == sorted(bits_kept, reverse=True) and bits_kept[0] > 2 * bits_kept[-1]


def test_several_resources_and_other_devices():
    model = randomize(residual_net())
    budget = Budget(size_ratio=0.9, flash_bytes=5_580)
    policy = learned().propose(model, budget, "cortex-m")
    assert policy.provenance["device"] == "cortex-m"


def test_an_unreachable_budget_says_what_can_be_reached():
    model = conv_net()
    with pytest.raises(InfeasibleBudgetError, match="smallest") as raised:
        MetaCompressor().propose(model, Budget(size_bytes=10.0))
    smallest = raised.value.smallest["size_bytes"]
    MetaCompressor().propose(model, Budget(size_bytes=smallest))


def test_bad_arguments_of_propose_are_errors():
    compressor, model = MetaCompressor(), dense_net()
    with pytest.raises(ArgumentTypeError, match="budget"):
        compressor.propose(model, 0.1)
    with pytest.raises(ArgumentTypeError, match="model"):
        compressor.propose("model.keras", Budget(size_ratio=0.1))
    with pytest.raises(InvalidArgumentError, match="cortex-m"):
        compressor.propose(model, Budget(size_ratio=0.1), "cortex")
    with pytest.raises(UnsupportedModelError):
        compressor.propose(
            keras.Sequential([keras.Input((3,)), layers.ReLU()]), Budget(size_ratio=0.1)
        )


# adapt


def toy_task(seed=0, share=0.2, actions=FEW_ACTIONS, **options):
    """A trained model on two blobs of points."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, 96)
    x = generator.normal(size=(96, 12)).astype("float32") + 2.0 * np.eye(3, 12)[y].astype("float32")
    keras.utils.set_random_seed(seed)
    model = dense_net()
    model.compile("adam", loss="sparse_categorical_crossentropy", jit_compile=False)
    model.optimizer.learning_rate = 0.03
    model.fit(x, y, epochs=8, batch_size=32, verbose=0)
    budget = budget_between(model, share, actions)
    return Task(model, budget, support=(x[:48], y[:48]), query=(x[48:], y[48:]), **options)


@pytest.fixture(scope="module")
def task():
    return toy_task()


@pytest.fixture(scope="module")
def adapted(task):
    compressor = learned(**FEW)
    before = fingerprint(task.model), [w.numpy() for w in compressor.phi]
    adaptation = compressor.adapt(task, inner_steps=3)
    after = fingerprint(task.model), [w.numpy() for w in compressor.phi]
    return compressor, adaptation, before, after


@pytest.mark.slow
def test_adapting_changes_neither_the_model_nor_the_compressor(adapted):
    compressor, adaptation, before, after = adapted
    assert before[0] == after[0]
    for one, other in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert adaptation.compressor is not compressor
    moved = [
        np.abs(one - other).max()
        for one, other in zip(compressor.phi, adaptation.compressor.phi, strict=True)
    ]
    assert max(moved) > 1e-4


@pytest.mark.slow
def test_an_adapted_policy_is_within_the_budget(adapted, task):
    _, adaptation, _, _ = adapted
    assert adaptation.policy.name == "phi-adapted"
    assert adaptation.policy.provenance["inner_steps"] == 3
    assert cost_of(task.model, adaptation.policy, actions=FEW_ACTIONS) <= task.budget.size_bytes


def test_each_step_notes_the_loss_before_it(adapted):
    _, adaptation, _, _ = adapted
    assert len(adaptation.losses) == 3
    assert np.isfinite(adaptation.losses).all()
    assert adaptation.losses[-1] < adaptation.losses[0]


def test_the_proposal_that_recovers_best_is_taken(adapted, task):
    compressor, adaptation, _, _ = adapted
    proposals = {
        "adapted",
        "prior",
        "sensitivity",
        "prior with sensitivity",
        "adapted with curvature",
    }
    assert set(adaptation.trials) <= proposals
    chosen = adaptation.policy.provenance["chosen"]
    assert adaptation.trials[chosen] == min(adaptation.trials.values())
    if chosen == "prior":
        expected = MetaCompressor(**FEW).propose(task.model, task.budget)
        assert adaptation.policy.rules == expected.rules


def test_a_task_without_labels_for_its_outputs_is_an_error():
    x, _ = images(8)
    model = conv_net()
    budget = Budget(size_ratio=0.95)
    with pytest.raises(InvalidArgumentError, match="below the model's outputs.*largest_label=7"):
        MetaCompressor().adapt(Task(model, budget, support=(x, np.arange(8))))
    with pytest.raises(InvalidArgumentError, match="needs a loss"):
        MetaCompressor().adapt(Task(model, budget, support=(x, np.zeros((8, 3), "float32"))))
    with pytest.raises(InvalidArgumentError, match="inner_steps"):
        MetaCompressor().adapt(Task(model, budget, support=(x, np.zeros(8, int))), inner_steps=0)


# fit


def test_tasks_on_one_architecture_share_a_compiled_step():
    x, y = np.zeros((4, 12), "float32"), np.zeros(4, int)
    model = randomize(dense_net())
    models = (model, model, randomize(copy_model(model), seed=1), with_norm(layers.ReLU()))
    compiler = TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop())
    first, again, second, different = (
        compiler.prepare(Task(model, Budget(size_ratio=1.0), support=(x, y))) for model in models
    )
    assert first.step is again.step is second.step
    assert different.step is not first.step


def test_subclassed_models_never_share_a_compiled_step():
    x, y = images(8)
    compiler = TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop())
    tasks = [Task(subclassed_net(), Budget(size_ratio=0.95), support=(x, y),
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
             for _ in "ab"]  # fmt: skip
    one, other = map(compiler.prepare, tasks)
    assert one.step is not other.step


def mean_query_loss(compressor, prepared, batch):
    return float(prepared.gradient(compressor.phi, batch)[2])


@pytest.mark.slow
def test_meta_training_lowers_the_query_loss(task):
    compressor = learned(0, stddev=2.0, num_heads=1, inner_loop=InnerLoop(inner_steps=1), **FEW)
    start = [w.numpy() for w in compressor.phi]
    before = fingerprint(task.model)
    compiler = TaskCompiler(FEW_ACTIONS, compressor.temperature, compressor.inner_loop)
    prepared = compiler.prepare(task)
    batch = prepared.draw(48, np.random.default_rng(5))
    first = mean_query_loss(compressor, prepared, batch)
    seen = []
    history = compressor.fit(
        [task], 20, meta_batch_size=1, meta_lr=0.03, batch_size=48,
        on_step=lambda step, metrics: seen.append((step, metrics["query_loss"])),
    )  # fmt: skip
    assert mean_query_loss(compressor, prepared, batch) < 0.95 * first
    assert fingerprint(task.model) == before
    assert compressor.meta_steps == 20
    assert {key: len(values) for key, values in history.items()} == {
        "support_loss": 20, "query_loss": 20, "gradient_norm": 20,
    }  # fmt: skip
    assert seen == list(enumerate(history["query_loss"]))
    assert all(np.isfinite(values).all() for values in history.values())
    assert max(np.abs(a - b).max() for a, b in zip(start, compressor.phi, strict=True)) > 0.01


@pytest.mark.slow
def test_the_same_seed_learns_the_same(task):
    def run():
        compressor = learned(
            3, seed=4, inner_loop=InnerLoop(first_order=True, inner_steps=1), **FEW
        )
        compressor.fit([task], 2, meta_batch_size=2, batch_size=16)
        return compressor.phi

    for one, other in zip(run(), run(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def with_norm(norm):
    model = keras.Sequential([keras.Input((12,)), layers.Dense(4), norm, layers.Dense(3)])
    return randomize(model)


def test_a_model_with_wrong_second_order_is_refused_unless_first_order():
    x, y = np.zeros((4, 12), "float32"), np.zeros(4, int)
    model = with_norm(layers.LayerNormalization(name="norm"))
    task = Task(model, Budget(size_ratio=1.0), support=(x, y))
    with pytest.raises(SecondOrderGradientError, match="norm.*first_order"):
        MetaCompressor(**FEW).fit([task], 1)
    compiler = TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop(first_order=True))
    compiler.prepare(task)
    TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop()).prepare(
        Task(with_norm(layers.BatchNormalization()), Budget(size_ratio=1.0), support=(x, y))
    )


def test_an_unreachable_budget_of_a_task_is_an_error(task):
    impossible = Task(task.model, Budget(size_bytes=10.0), support=task.support)
    with pytest.raises(InfeasibleBudgetError):
        MetaCompressor(**FEW).adapt(impossible, inner_steps=1)
    with pytest.raises(InfeasibleBudgetError):
        MetaCompressor(**FEW).fit([impossible], 1)


def test_bad_arguments_of_fit_are_errors(task):
    with pytest.raises(InvalidArgumentError, match="tasks"):
        MetaCompressor(**FEW).fit([], 1)
    with pytest.raises(InvalidArgumentError, match="meta_steps"):
        MetaCompressor(**FEW).fit([task], 0)
    with pytest.raises(MetacompressError, match="meta_batch_size"):
        MetaCompressor(**FEW).fit([task], 1, meta_batch_size=0)
    with pytest.raises(MetacompressError, match="batch_size"):
        MetaCompressor(**FEW).fit([task], 1, batch_size=0)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("temperature", {"temperature": 0.0}),
        ("temperature", {"temperature": float("nan")}),
        ("hidden", {"hidden": (0,)}),
        ("actions", {"actions": ()}),
        ("actions", {"actions": (Action(0.5, 8, "channel"),)}),
    ],
)
def test_bad_arguments_of_the_compressor_are_errors(match, arguments):
    with pytest.raises(MetacompressError, match=match):
        MetaCompressor(**arguments)


def test_batches_are_drawn_from_support_and_query(task):
    prepared = TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop()).prepare(task)
    sx, sy, qx, qy = (t.numpy() for t in prepared.draw(20, np.random.default_rng(0)))
    assert sx.shape == qx.shape == (20, 12) and sy.shape == qy.shape == (20,)
    for x, y, (whole_x, whole_y) in ((sx, sy, task.support), (qx, qy, task.query)):
        rows = [int(np.flatnonzero((whole_x == row).all(1))[0]) for row in x]
        assert len(set(rows)) == 20
        np.testing.assert_array_equal(whole_y[rows], y)
    assert prepared.draw(100, np.random.default_rng(0))[0].shape == (100, 12)


def test_the_whole_support_set_is_thinned_evenly():
    x = np.arange(1200, dtype="float32")[:, None] * np.ones((1, 12), "float32")
    task = Task(dense_net(), Budget(size_ratio=1.0), support=(x, np.zeros(1200, int)))
    prepared = TaskCompiler(FEW_ACTIONS, 0.05, InnerLoop()).prepare(task)
    rows = prepared.full_support()[0].numpy()[:, 0]
    assert len(rows) == 512 and rows[0] == 0 and rows[-1] == 1199
    assert set(np.diff(rows)) == {2.0, 3.0}
